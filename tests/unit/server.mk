# SPDX-License-Identifier: Apache-2.0
UNIT_TESTS += %D%/test_server_look %D%/test_http_in
UNIT_TESTS += %D%/test_http_answer
UNIT_TESTS += %D%/test_http_openapi
UNIT_TESTS += %D%/test_http_routes
