# SPDX-License-Identifier: Apache-2.0
UNIT_TESTS += %D%/test_export_prometheus %D%/test_export_otlp %D%/test_export_queue %D%/test_export_spool
