# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/project.h %D%/isolate.c %D%/channel.h %D%/channel.c
agent_libagent_a_SOURCES += %D%/identity.h %D%/role.h %D%/role.c %D%/access.h %D%/access.c %D%/project.c %D%/rules.c
agent_libagent_a_SOURCES += %D%/jwt.h %D%/jwt_reasons.def %D%/jwt_reason.c
agent_libagent_a_SOURCES += %D%/token.h %D%/token.c %D%/peer.h %D%/peer.c
agent_libagent_a_SOURCES += %D%/cursor.h %D%/cursor.c
agent_libagent_a_SOURCES += %D%/evidence.c
agent_libagent_a_SOURCES += %D%/limit.h %D%/limit.c
