# SPDX-License-Identifier: Apache-2.0
UNIT_TESTS += %D%/test_trace_context %D%/test_trace_ring
