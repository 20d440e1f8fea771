# SPDX-License-Identifier: Apache-2.0
# A collector for tests, and the exporter without the agent around it.
check_PROGRAMS += %D%/exporter
%C%_exporter_SOURCES = %D%/exporter.c
%C%_exporter_LDADD = $(AGENT_LIBS)
SCRIPT_TESTS += %D%/fed.py
EXTRA_DIST += %D%/otlp.py %D%/proto/LICENSE %D%/proto/README \
	%D%/proto/opentelemetry/proto/collector/logs/v1/logs_service.proto \
	%D%/proto/opentelemetry/proto/collector/metrics/v1/metrics_service.proto \
	%D%/proto/opentelemetry/proto/collector/trace/v1/trace_service.proto \
	%D%/proto/opentelemetry/proto/common/v1/common.proto \
	%D%/proto/opentelemetry/proto/logs/v1/logs.proto \
	%D%/proto/opentelemetry/proto/metrics/v1/metrics.proto \
	%D%/proto/opentelemetry/proto/resource/v1/resource.proto \
	%D%/proto/opentelemetry/proto/trace/v1/trace.proto
