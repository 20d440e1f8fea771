# SPDX-License-Identifier: Apache-2.0
UNIT_TESTS += %D%/test_access_isolate
UNIT_TESTS += %D%/test_access_channel
UNIT_TESTS += %D%/test_access_token
UNIT_TESTS += %D%/test_access_peer
UNIT_TESTS += %D%/test_access_cursor
UNIT_TESTS += %D%/test_access_decide
