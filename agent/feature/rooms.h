/* SPDX-License-Identifier: Apache-2.0
 *
 * feature/rooms: what feature.c knows of each feature: who puts its handlers into the table.
 */
#ifndef FEATURE_ROOMS_H
#define FEATURE_ROOMS_H
#include "feature/feature.h"

void cache_counter_commands(feature_handler *t); /* CACHE.INCRBY */
#endif
