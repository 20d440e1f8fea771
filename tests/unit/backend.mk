# SPDX-License-Identifier: Apache-2.0
UNIT_TESTS += %D%/test_backend_loader
UNIT_TESTS += %D%/test_backend_encode %D%/test_backend_scripts
UNIT_TESTS += %D%/test_backend_hub
