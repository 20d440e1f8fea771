# SPDX-License-Identifier: Apache-2.0
UNIT_TESTS += %D%/test_config_value %D%/test_config_file %D%/test_config_sources \
	%D%/test_config_use %D%/test_config_paths
EXTRA_DIST += %D%/config_fixture.h
tests_unit_test_config_use_CPPFLAGS = $(AM_CPPFLAGS) -DTOP_SRCDIR='"$(abs_top_srcdir)"'

# The Nth allocation fails, for every N.
UNIT_TESTS += %D%/test_config_nomem
tests_unit_test_config_nomem_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc -Wl,--wrap=calloc \
	-Wl,--wrap=realloc -Wl,--wrap=strdup
