/* SPDX-License-Identifier: Apache-2.0
 *
 * access/channel: channels of publish/subscribe are names like keys, so they carry the project's prefix
 * in the store.  The channels of keyspace notifications are not: they hold key names (in the channel's
 * name or in the message), and a project hears of its own keys alone.
 *
 * In: what a client subscribes to.  Out: what the store is subscribed to; and back, what came from the
 * store as the client is to see it.
 */
#ifndef ACCESS_CHANNEL_H
#define ACCESS_CHANNEL_H
#include "access/project.h"

enum channel_mode {
	CHANNEL_PLAIN,          /* the prefix, then the client's name */
	CHANNEL_KEYSPACE,       /* __keyspace@0__:KEY: the prefix stands in front of KEY */
	CHANNEL_KEYEVENT,       /* __keyevent@0__:EVENT: everybody's; the message is a key */
	CHANNEL_KEYANY          /* a pattern like __key*__:*: everybody's, and matched again here */
};

/* The store's name of a client's channel (or pattern), in the arena; p NULL: no memory. */
purser_bytes channel_in(const struct project *p, bool pattern, purser_bytes name, struct arena *a,
    enum channel_mode *mode);

/* ... of a shard channel: events of keys are never told there, so each is the project's own. */
purser_bytes channel_shard(const struct project *p, bool pattern, purser_bytes name, struct arena *a);

struct channel_heard {          /* pieces of what came */
	purser_bytes channel[2];
	purser_bytes message;
};
/* What subscriber name (as the client gave it) of p is to see; false: nothing. */
bool channel_out(const struct project *p, bool pattern, enum channel_mode mode, purser_bytes name,
    purser_bytes channel, purser_bytes message, struct channel_heard *out);
#endif
