# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/http_head.c %D%/http_head.h %D%/http_in.c %D%/http_in.h \
	%D%/http_reply.c %D%/http_reply.h %D%/http_route.c %D%/http_route.h %D%/routes.def \
	%D%/http_events.c %D%/http_events.h %D%/conn_events.c \
	%D%/http_call.c %D%/http_words.c %D%/http_words.h \
	%D%/http_answer.c %D%/http_answer.h %D%/openapi.c %D%/openapi.h
agent_libagent_a_SOURCES += %D%/server.h %D%/look.h %D%/conn.c %D%/conn_resp.c %D%/conn_ahead.c %D%/conn_fair.c %D%/conn_http.c %D%/listen.c \
	%D%/local.h %D%/local.c %D%/local_command.c %D%/local_connection.c %D%/local_unblock.c %D%/local_info.c %D%/local_slow.c %D%/local_server.c \
	%D%/local_space.c %D%/local_script.c %D%/local_agent.c %D%/local_auth.c
agent_libagent_a_SOURCES += %D%/conn_stream.c %D%/local_pubsub.c %D%/local_client.c %D%/local_track.c
agent_libagent_a_SOURCES += %D%/local_breaker.c %D%/local_watch.c %D%/local_explain.c %D%/local_cache.c
