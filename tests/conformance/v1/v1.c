/* SPDX-License-Identifier: Apache-2.0
 * The example, built with the frozen first version of the header.  Must load and work for ever. */
#define _GNU_SOURCE /* for the example */
#include "plugin.h"
#include "../../../plugins/example/example.c"
