# SPDX-License-Identifier: Apache-2.0
UNIT_TESTS += %D%/test_health_memory %D%/test_health_check %D%/test_health_document
tests_unit_test_health_check_SOURCES = %D%/test_health_check.c %D%/health_world.c %D%/health_world.h
tests_unit_test_health_document_SOURCES = %D%/test_health_document.c %D%/health_world.c %D%/health_world.h
