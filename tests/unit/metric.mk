# SPDX-License-Identifier: Apache-2.0
UNIT_TESTS += %D%/test_metric_hist %D%/test_metric_series %D%/test_metric_info
EXTRA_DIST += %D%/info-7.0.15.txt
UNIT_TESTS += %D%/test_metric_slowlog
UNIT_TESTS += %D%/test_metric_tally
