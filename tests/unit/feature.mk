# SPDX-License-Identifier: Apache-2.0
UNIT_TESTS += %D%/test_feature_record %D%/test_feature_lease
UNIT_TESTS += %D%/test_feature_lock_queue
UNIT_TESTS += %D%/test_feature
UNIT_TESTS += %D%/test_feature_job
UNIT_TESTS += %D%/test_feature_session
