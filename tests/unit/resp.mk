# SPDX-License-Identifier: Apache-2.0
UNIT_TESTS += %D%/test_resp_json_out
UNIT_TESTS += %D%/test_resp_json_in
UNIT_TESTS += %D%/test_resp_parse %D%/test_resp_strip %D%/test_resp_exec
UNIT_TESTS += %D%/test_resp_stream
UNIT_TESTS += %D%/test_resp_whole
