# SPDX-License-Identifier: Apache-2.0
# One fragment a room:  UNIT_TESTS += %D%/test_ROOM_x

include %D%/base.mk
include %D%/loop.mk
include %D%/config.mk
include %D%/resp.mk
include %D%/command.mk
include %D%/metric.mk
include %D%/trace.mk
include %D%/log.mk
include %D%/fetch.mk
include %D%/export.mk
include %D%/resilience.mk
include %D%/access.mk
include %D%/backend.mk
include %D%/feature.mk
include %D%/health.mk
include %D%/server.mk
include %D%/request.mk
include %D%/memory.mk
include %D%/redis.mk
include %D%/ctl.mk
