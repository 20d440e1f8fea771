# SPDX-License-Identifier: Apache-2.0
UNIT_TESTS += %D%/test_base_out
UNIT_TESTS += %D%/test_base_names
