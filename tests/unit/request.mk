# SPDX-License-Identifier: Apache-2.0
UNIT_TESTS += %D%/test_request_tx
