# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/project.h %D%/isolate.c %D%/prelude.h %D%/prelude.c %D%/channel.h %D%/channel.c
agent_libagent_a_SOURCES += %D%/identity.h %D%/role.h %D%/role.c %D%/access.h %D%/access.c %D%/project.c %D%/rules.c
agent_libagent_a_SOURCES += %D%/token.h %D%/token.c %D%/peer.h %D%/peer.c
agent_libagent_a_SOURCES += %D%/cursor.h %D%/cursor.c
agent_libagent_a_SOURCES += %D%/evidence.c
agent_libagent_a_SOURCES += %D%/limit.h %D%/limit.c
agent_libagent_a_SOURCES += %D%/attempts.h %D%/attempts.c
agent_libagent_a_SOURCES += %D%/jwt.h %D%/jwt_priv.h %D%/jwt_reasons.def %D%/jwt_reason.c %D%/jwt_base64.c %D%/jwt_sign.c \
	%D%/jwt_key.c %D%/jwt_token.c %D%/jwt_judge.c %D%/jwt_claims.c %D%/jwt_policy.c %D%/jwt_files.c %D%/jwt_access.c \
	%D%/jwt_cache.c %D%/jwt_worker.c %D%/jwt_service.c \
	%D%/jwks_set.c %D%/jwks_plan.c %D%/jwks.c
