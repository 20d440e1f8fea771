# SPDX-License-Identifier: Apache-2.0
# The rooms of the agent, as one convenience library, and the daemon.

noinst_LIBRARIES += agent/libagent.a
agent_libagent_a_SOURCES =

include %D%/base/local.mk
include %D%/loop/local.mk
include %D%/config/local.mk
include %D%/resp/local.mk
include %D%/command/local.mk
include %D%/metric/local.mk
include %D%/trace/local.mk
include %D%/log/local.mk
include %D%/fetch/local.mk
include %D%/export/local.mk
include %D%/resilience/local.mk
include %D%/access/local.mk
include %D%/backend/local.mk
include %D%/feature/local.mk
include %D%/health/local.mk
agent_libagent_a_SOURCES += %D%/request.h %D%/request.c %D%/request_client.c %D%/request_limit.c %D%/request_access.c %D%/request_stage.h %D%/request_tx.c %D%/request_script.c %D%/request_confine.h %D%/request_confine.c %D%/request_child.c %D%/request_retry.c %D%/request_fault.c %D%/request_stream.c %D%/request_block.c %D%/request_space.h %D%/request_space.c %D%/request_noloop.h %D%/request_noloop.c %D%/request_slow.c %D%/request_trace.h %D%/request_trace.c %D%/request_tally.h %D%/request_tally.c \
	%D%/stages.def
agent_libagent_a_SOURCES += %D%/agent_jobs.h %D%/agent_jobs.c
agent_libagent_a_SOURCES += %D%/request_feature.h %D%/request_feature.c %D%/request_touch.c %D%/request_batch.c
agent_libagent_a_SOURCES += %D%/request_push.h %D%/request_push.c %D%/request_pubsub.h %D%/request_pubsub.c \
	%D%/request_tour.h %D%/request_tour.c %D%/request_monitor.c %D%/request_track.h %D%/request_track.c
agent_libagent_a_SOURCES += %D%/request_auth.h %D%/request_auth.c %D%/request_audit.c
include %D%/server/local.mk

sbin_PROGRAMS += agent/purserd
agent_purserd_SOURCES = %D%/main.c %D%/agent.h %D%/agent.c %D%/agent_build.c %D%/agent_reload.c \
	%D%/agent_control.c %D%/agent_telemetry.c %D%/agent_health.c %D%/agent_health.h %D%/agent_breaker.c %D%/agent_breaker.h %D%/agent_notify.c %D%/agent_cursor.c %D%/agent_command.c \
	%D%/options.c %D%/dump.c %D%/sandbox.h %D%/sandbox.c %D%/sandbox_rights.c %D%/sandbox_files.c \
	%D%/sandbox_calls.c %D%/sandbox_calls.def
agent_purserd_CPPFLAGS = $(AM_CPPFLAGS) $(SECCOMP_CFLAGS)
agent_purserd_LDADD = $(AGENT_LIBS) $(SECCOMP_LIBS)
