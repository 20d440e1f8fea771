/* SPDX-License-Identifier: Apache-2.0
 *
 * feature/stream: what lua/stream_lag.lua answers, group by group.
 */
#ifndef FEATURE_STREAM_H
#define FEATURE_STREAM_H
#include "feature/feature.h"

#define STREAM_GROUPS "100"             /* of one stream, at most */

struct stream_lag { const uint8_t *at, *end; int64_t entries, groups; uint32_t left; };
struct stream_group {
	purser_bytes name, last, oldest;        /* oldest.n 0: nothing is pending */
	int64_t consumers, pending, lag;        /* lag -1: the store does not know */
	int64_t age_ms, idle_ms, deliveries;    /* of oldest; -1: not known */
};
int stream_lag_begin(struct stream_lag *l, const struct feature_reply *rep); /* 0, or -1: nonsense */
int stream_lag_next(struct stream_lag *l, struct stream_group *g);           /* 1, 0: no more, -1: nonsense */
#endif
