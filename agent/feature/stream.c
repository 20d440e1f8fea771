/* SPDX-License-Identifier: Apache-2.0
 *
 * STREAM.LAG and STREAM.DEADLETTER: what consumer groups have not done, and what they cannot do.
 */
#include <config.h>
#include <string.h>
#include <purser/resp.h>
#include "feature/rooms.h"
#include "feature/stream.h"
#include "resp/pick.h"

static purser_bytes text(const char *s) { return (purser_bytes){ (const uint8_t *)s, strlen(s) }; }

/* ---- what stream_lag.lua says ------------------------------------------------------------------------------------ */

static int pick_int(const uint8_t **p, const uint8_t *end, int64_t *v) { return resp_pick_header(p, end, ':', v); }

/* An integer or a null: -1. */
static int pick_maybe(const uint8_t **p, const uint8_t *end, int64_t *v)
{
	if (end - *p >= 3 && **p == '_') {
		*p += 3;
		*v = -1;
		return 0;
	}
	return pick_int(p, end, v);
}

int stream_lag_begin(struct stream_lag *l, const struct feature_reply *rep)
{
	int64_t n;

	*l = (struct stream_lag){ .at = rep->resp, .end = rep->resp + rep->n };
	if (resp_pick_header(&l->at, l->end, '*', &n) || n < 2 || pick_int(&l->at, l->end, &l->entries) ||
	    pick_int(&l->at, l->end, &l->groups))
		return -1;
	l->left = (uint32_t)(n - 2);
	return 0;
}

int stream_lag_next(struct stream_lag *l, struct stream_group *g)
{
	int64_t nine;

	if (!l->left)
		return 0;
	l->left--;
	return resp_pick_header(&l->at, l->end, '*', &nine) || nine != 9 || resp_pick_bulk(&l->at, l->end, &g->name) ||
	    pick_int(&l->at, l->end, &g->consumers) || pick_int(&l->at, l->end, &g->pending) ||
	    resp_pick_bulk(&l->at, l->end, &g->last) || pick_maybe(&l->at, l->end, &g->lag) ||
	    resp_pick_bulk(&l->at, l->end, &g->oldest) || pick_int(&l->at, l->end, &g->age_ms) ||
	    pick_int(&l->at, l->end, &g->idle_ms) || pick_int(&l->at, l->end, &g->deliveries) ? -1 : 1;
}

/* ---- STREAM.LAG stream --------------------------------------------------------------------------------------------- */

static void put_known(struct bcall *b, const char *name, int64_t v)
{
	reply_text(b, name);
	if (v < 0)
		reply_null(b);
	else
		reply_integer(b, v);
}

static void put_group(struct bcall *b, const struct stream_group *g)
{
	reply_map(b, 9);
	reply_text(b, "name");
	reply_bulk(b, g->name.p, g->name.n);
	put_known(b, "consumers", g->consumers);
	put_known(b, "lag", g->lag);
	put_known(b, "pending", g->pending);
	reply_text(b, "last_delivered_id");
	reply_bulk(b, g->last.p, g->last.n);
	reply_text(b, "oldest_pending_id");
	if (g->oldest.n)
		reply_bulk(b, g->oldest.p, g->oldest.n);
	else
		reply_null(b);
	put_known(b, "oldest_pending_age_ms", g->age_ms);
	put_known(b, "oldest_pending_idle_ms", g->idle_ms);
	put_known(b, "oldest_pending_deliveries", g->deliveries);
}

static void lag_told(void *arg, const struct feature_reply *rep)
{
	struct feature_call *f = arg;
	struct stream_lag l, look;
	struct stream_group g;
	int rc;

	if (rep->err) {
		feature_pass_error(f, rep);
		return;
	}
	rc = stream_lag_begin(&l, rep);
	look = l;
	while (!rc && (rc = stream_lag_next(&look, &g)) > 0) /* all of it, before a byte is written */
		rc = 0;
	if (rc < 0) {
		feature_fail(f, ERR_BACKENDPROTOCOL, NULL);
		return;
	}
	reply_map(f->b, 3);
	put_known(f->b, "entries", l.entries);
	put_known(f->b, "groups_total", l.groups);
	reply_text(f->b, "groups");
	reply_array(f->b, l.left);
	while (stream_lag_next(&l, &g) > 0)
		put_group(f->b, &g);
	feature_end(f);
}

static void do_lag(struct feature_call *f)
{
	purser_bytes key = feature_key(f, f->argv[1]), *max = arena_get(f->arena, sizeof *max);

	if (!key.p || !max) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	*max = text(STREAM_GROUPS);
	feature_script(f, LUA_STREAM_LAG, &key, 1, max, 1, lag_told, f);
}

/* ---- STREAM.DEADLETTER stream group target MAXDELIVERIES n [IDLE ms] [FROM id] --------------------------------------- */

#define DEAD_STEP "500"                 /* pending entries that one script looks at */
#define DEAD_STEPS 200u                 /* scripts of one command */

struct dead {
	struct feature_call *f;
	purser_bytes keys[2], args[6];
	int64_t moved, gone, looked;
	unsigned steps;
};

static void dead_step(struct dead *d);

static void dead_end(struct dead *d, purser_bytes next)
{
	struct bcall *b = d->f->b;

	reply_map(b, 4);
	put_known(b, "moved", d->moved);
	put_known(b, "gone", d->gone);
	put_known(b, "looked_at", d->looked);
	reply_text(b, "next");
	if (next.n)
		reply_bulk(b, next.p, next.n);
	else
		reply_null(b);
	feature_end(d->f);
}

static void dead_told(void *arg, const struct feature_reply *rep)
{
	struct dead *d = arg;
	const uint8_t *at = rep->resp, *end = rep->resp + rep->n;
	int64_t four, moved, gone, looked;
	purser_bytes last;
	uint8_t *behind;

	if (rep->err) {
		feature_pass_error(d->f, rep);
		return;
	}
	if (resp_pick_header(&at, end, '*', &four) || four != 4 || pick_int(&at, end, &moved) || pick_int(&at, end, &gone) ||
	    pick_int(&at, end, &looked) || resp_pick_bulk(&at, end, &last)) {
		feature_fail(d->f, ERR_BACKENDPROTOCOL, NULL);
		return;
	}
	d->moved += moved;
	d->gone += gone;
	d->looked += looked;
	behind = last.n ? arena_get(d->f->arena, last.n + 1) : NULL;
	if (last.n && !behind) {
		feature_fail(d->f, ERR_OOM, NULL);
		return;
	}
	if (last.n) {
		*behind = '(';
		memcpy(behind + 1, last.p, last.n);
		d->args[4] = (purser_bytes){ behind, last.n + 1 };
	}
	/* Half of its time is kept for the last step. */
	if (!last.n || ++d->steps == DEAD_STEPS || d->f->gone ||
	    loop_now(d->f->w->loop) - d->f->start_ns > (d->f->deadline_ns - d->f->start_ns) / 2)
		dead_end(d, last.n ? (purser_bytes){ behind + 1, last.n } : (purser_bytes){ NULL, 0 });
	else
		dead_step(d);
}

static void dead_step(struct dead *d)
{
	feature_script(d->f, LUA_STREAM_DEAD, d->keys, 2, d->args, 6, dead_told, d);
}

/* "5-3" or "5". */
static bool id_ok(purser_bytes w)
{
	size_t digits = 0;
	bool dash = false;

	for (size_t i = 0; i < w.n; i++) {
		if (w.p[i] == '-' && !dash && digits) {
			dash = true;
			digits = 0;
		} else if (w.p[i] >= '0' && w.p[i] <= '9') {
			digits++;
		} else {
			return false;
		}
	}
	return digits && digits <= 20;
}

/* The options behind the three names; false: they are wrong. */
static bool dead_options(struct dead *d)
{
	const struct feature_call *f = d->f;
	bool max = false;
	uint8_t *from;

	for (uint32_t i = 4; i < f->argc; i += 2) {
		int64_t v = -1;

		if (i + 1 == f->argc)
			return false;
		if (!cmd_word_is(f->argv[i], "FROM") && (purser_resp_int(f->argv[i + 1].p, f->argv[i + 1].n, &v) || v < 0))
			return false;
		if (cmd_word_is(f->argv[i], "MAXDELIVERIES") && v >= 1) {
			d->args[2] = f->argv[i + 1];
			max = true;
		} else if (cmd_word_is(f->argv[i], "IDLE")) {
			d->args[3] = f->argv[i + 1];
		} else if (cmd_word_is(f->argv[i], "FROM") && id_ok(f->argv[i + 1])) {
			from = arena_get(f->arena, f->argv[i + 1].n + 1);
			if (!from)
				return false;
			*from = '(';
			memcpy(from + 1, f->argv[i + 1].p, f->argv[i + 1].n);
			d->args[4] = (purser_bytes){ from, f->argv[i + 1].n + 1 };
		} else {
			return false;
		}
	}
	return max;
}

static void do_dead(struct feature_call *f)
{
	struct dead *d = arena_get(f->arena, sizeof *d);

	if (!d) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	*d = (struct dead){ .f = f, .keys = { feature_key(f, f->argv[1]), feature_key(f, f->argv[3]) },
		.args = { f->argv[2], f->argv[1], { NULL, 0 }, text("0"), text("-"), text(DEAD_STEP) } };
	if (!d->keys[0].p || !d->keys[1].p)
		feature_fail(f, ERR_OOM, NULL);
	else if (!dead_options(d))
		feature_syntax(f, "STREAM.DEADLETTER stream group target MAXDELIVERIES n [IDLE ms] [FROM id], n at least 1");
	else if (f->argv[1].n == f->argv[3].n && memcmp(f->argv[1].p, f->argv[3].p, f->argv[1].n) == 0)
		feature_fail(f, ERR_BADREQUEST, "the target is the stream itself: name another");
	else
		dead_step(d);
}

void stream_commands(feature_handler *t)
{
	t[CMD_STREAM_LAG] = do_lag;
	t[CMD_STREAM_DEADLETTER] = do_dead;
}
