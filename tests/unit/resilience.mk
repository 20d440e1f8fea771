# SPDX-License-Identifier: Apache-2.0
UNIT_TESTS += %D%/test_resilience_threshold %D%/test_resilience_breaker %D%/test_resilience_retry %D%/test_resilience_gcra %D%/test_resilience_drr
