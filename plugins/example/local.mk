# SPDX-License-Identifier: Apache-2.0
# What docs/writing-a-plugin.md quotes, word for word.
plugin_LTLIBRARIES += plugins/example.la
plugins_example_la_SOURCES = %D%/example.c
plugins_example_la_LDFLAGS = $(PLUGIN_LINK)
EXTRA_DIST += %D%/Makefile
