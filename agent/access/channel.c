/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include <purser/glob.h>
#include "access/channel.h"

static const char any_event[] = "__key*@*__:*";

/* "__keyspace@12__:" or "__keyevent@12__:" at the front of name. */
struct event { size_t head; uint32_t db; bool space; };

static bool read_event(purser_bytes name, struct event *e)
{
	size_t at = 11;
	uint64_t db = 0;

	if (name.n < 16 || (memcmp(name.p, "__keyspace@", 11) && memcmp(name.p, "__keyevent@", 11)))
		return false;
	e->space = name.p[5] == 's';
	while (at < name.n && at < 21 && name.p[at] >= '0' && name.p[at] <= '9')
		db = db * 10 + (name.p[at++] - '0');
	if (at == 11 || name.n - at < 4 || memcmp(name.p + at, "__:", 3) || db > UINT32_MAX)
		return false;
	e->head = at + 3;
	e->db = (uint32_t)db;
	return true;
}

static bool begins(purser_bytes b, const void *with, size_t n)
{
	return b.n >= n && memcmp(b.p, with, n) == 0;
}

static purser_bytes behind(purser_bytes b, size_t n)
{
	return (purser_bytes){ b.p + n, b.n - n };
}

/* head bytes of name, the prefix, the rest of name. */
static purser_bytes insert(const struct project *p, bool pattern, purser_bytes name, size_t head,
    struct arena *a)
{
	uint8_t *d = arena_get(a, name.n + 2 * (size_t)p->prefix_len + 1);
	size_t at = head;

	if (!d)
		return (purser_bytes){ NULL, 0 };
	if (head)
		memcpy(d, name.p, head);
	for (uint32_t i = 0; i < p->prefix_len; i++) {
		if (pattern && strchr("*?[]\\^", p->prefix[i]))
			d[at++] = '\\';
		d[at++] = p->prefix[i];
	}
	if (name.n > head)
		memcpy(d + at, name.p + head, name.n - head);
	return (purser_bytes){ d, at + name.n - head };
}

/* A pattern that begins like the channels of events and leaves open which of them it means. */
static bool any_events(purser_bytes name)
{
	return begins(name, "__key", 5) && (memchr(name.p, '*', name.n) || memchr(name.p, '?', name.n) ||
	    memchr(name.p, '[', name.n));
}

purser_bytes channel_in(const struct project *p, bool pattern, purser_bytes name, struct arena *a,
    enum channel_mode *mode)
{
	struct event e;

	*mode = CHANNEL_PLAIN;
	if (!project_isolated(p))
		return insert(p, false, name, 0, a);
	if (read_event(name, &e) && e.db < p->databases) {
		*mode = e.space ? CHANNEL_KEYSPACE : CHANNEL_KEYEVENT;
		if (e.space)
			return insert(p, pattern, name, e.head, a);
		return name;
	}
	if (pattern && !read_event(name, &e) && any_events(name)) {
		*mode = CHANNEL_KEYANY;
		return (purser_bytes){ (const uint8_t *)any_event, sizeof any_event - 1 };
	}
	return insert(p, pattern, name, 0, a);
}

purser_bytes channel_shard(const struct project *p, bool pattern, purser_bytes name, struct arena *a)
{
	return insert(p, pattern && project_isolated(p), name, 0, a);
}

/* Keys of the agent itself are nobody's business (semantics.md section 9). */
static bool own_event(purser_bytes channel, purser_bytes message)
{
	struct event e;

	return read_event(channel, &e) && begins(e.space ? behind(channel, e.head) : message, "psr:", 4);
}

/* Does the client's pattern match the channel as it sees it? */
static bool matches(purser_bytes pattern, const struct channel_heard *h)
{
	size_t n = h->channel[0].n + h->channel[1].n;
	uint8_t small[256], *text = n <= sizeof small ? small : malloc(n);
	bool yes;

	if (!text)
		return false;
	memcpy(text, h->channel[0].p, h->channel[0].n);
	if (h->channel[1].n)
		memcpy(text + h->channel[0].n, h->channel[1].p, h->channel[1].n);
	yes = purser_glob(pattern.p, pattern.n, text, n) != 0;
	if (text != small)
		free(text);
	return yes;
}

static bool event_out(const struct project *p, purser_bytes channel, purser_bytes message,
    struct channel_heard *out)
{
	struct event e;
	purser_bytes key;

	if (!read_event(channel, &e) || e.db >= p->databases)
		return false;
	key = e.space ? behind(channel, e.head) : message;
	if (!begins(key, p->prefix, p->prefix_len))
		return false;
	key = behind(key, p->prefix_len);
	if (e.space) {
		out->channel[0] = (purser_bytes){ channel.p, e.head };
		out->channel[1] = key;
	} else {
		out->message = key;
	}
	return true;
}

bool channel_out(const struct project *p, bool pattern, enum channel_mode mode, purser_bytes name,
    purser_bytes channel, purser_bytes message, struct channel_heard *out)
{
	*out = (struct channel_heard){ { channel, { NULL, 0 } }, message };
	switch (mode) {
	case CHANNEL_PLAIN:
		if (!p->prefix_len)
			return !own_event(channel, message);
		if (!begins(channel, p->prefix, p->prefix_len))
			return false;
		out->channel[0] = behind(channel, p->prefix_len);
		return true;
	case CHANNEL_KEYSPACE:
	case CHANNEL_KEYEVENT:
		return event_out(p, channel, message, out);
	case CHANNEL_KEYANY:
		return event_out(p, channel, message, out) && (!pattern || matches(name, out));
	}
	return false;
}
