/* SPDX-License-Identifier: Apache-2.0
 *
 * Which features there are, and the small things that all of them say.
 */
#include <config.h>
#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "feature/feature.h"
#include "feature/rooms.h"

/* A row that nobody serves does not get here: tests/unit/test_feature.c. */
void feature_commands(feature_handler *t)
{
	cache_counter_commands(t);
	lock_commands(t);
	cache_meta_commands(t);
	stream_commands(t);
	session_commands(t);
	lease_commands(t);
	job_commands(t);
}

const struct feature_room feature_rooms[ROOM_COUNT] = {
	[ROOM_STREAM] = { stream_start, stream_quit, stream_reloaded, stream_stop },
	[ROOM_LOCK] = { .start = lock_start, .stop = lock_stop },
	[ROOM_LEASE] = { lease_start, NULL, lease_reloaded, lease_stop },
	[ROOM_SESSION] = { session_start, session_quit, NULL, session_stop },
};

void feature_fail(struct feature_call *f, enum err_code code, const char *text)
{
	reply_failure(f->b, code, text);
	feature_end(f);
}

void feature_error(struct feature_call *f, const char *text)
{
	reply_error(f->b, text, strlen(text));
	f->b->store_error = false;
	feature_end(f);
}

void feature_syntax(struct feature_call *f, const char *usage)
{
	char text[256];

	snprintf(text, sizeof text, "ERR syntax error: %s", usage);
	feature_error(f, text);
}

void feature_ok(struct feature_call *f)
{
	reply_status(f->b, "OK");
	feature_end(f);
}

/* ---- names ---- */

purser_bytes feature_key(struct feature_call *f, purser_bytes key)
{
	return isolate_key(f->project, key, f->arena);
}

purser_bytes feature_name(struct arena *a, const char *project, const char *kind, purser_bytes name)
{
	size_t np = strlen(project), nk = strlen(kind), n = 4 + np + 1 + nk + 1 + name.n;
	uint8_t *d = arena_get(a, n), *at = d;

	if (!d)
		return (purser_bytes){ NULL, 0 };
	at = (uint8_t *)memcpy(at, "psr:", 4) + 4;
	at = (uint8_t *)memcpy(at, project, np) + np;
	*at++ = ':';
	at = (uint8_t *)memcpy(at, kind, nk) + nk;
	*at++ = ':';
	if (name.n)
		memcpy(at, name.p, name.n);
	return (purser_bytes){ d, n };
}

purser_bytes feature_number(struct arena *a, int64_t v)
{
	char *d = arena_get(a, 24);
	size_t minus = v < 0;

	if (!d)
		return (purser_bytes){ NULL, 0 };
	*d = '-';
	return (purser_bytes){ (const uint8_t *)d, minus + dec_u64(d + minus, minus ? -(uint64_t)v : (uint64_t)v) };
}
