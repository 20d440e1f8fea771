/* SPDX-License-Identifier: Apache-2.0
 *
 * PURSER.EXPLAIN: what would become of a command, without running it.  In: its words.  Out: JSON: may the
 * caller run it, and if not why; where it would go; what its breaker, its retry class and its limits say.
 */
#include <config.h>
#include <string.h>
#include "server/local.h"

static void put_key(struct buf *b, const char *key, bool first)
{
	buf_printf(b, "%s\"%s\":", first ? "" : ",", key);
}

/* A string of any bytes: those that are no printable ASCII as \u00XX. */
static void put_bytes(struct buf *b, const void *p, size_t n)
{
	const uint8_t *s = p;

	buf_putc(b, '"');
	for (size_t i = 0; i < n; i++)
		if (s[i] == '"' || s[i] == '\\' || s[i] < 32 || s[i] > 126)
			buf_printf(b, "\\u%04x", s[i]);
		else
			buf_putc(b, (char)s[i]);
	buf_putc(b, '"');
}

static void put_string(struct buf *b, const char *key, const char *value)
{
	put_key(b, key, false);
	put_bytes(b, value, strlen(value));
}

/* What stands for a key is the name of a lock, of which the store has other keys. */
static bool names_only(const struct command *c)
{
	return c->run == RUN_FEATURE && c->group == G_LOCK;
}

/* The keys as the caller names them; for operators as the store has them, too. */
static void put_keys(struct buf *b, const struct client *cl, const struct command *c, const purser_bytes *argv,
    uint32_t argc, struct arena *a)
{
	uint32_t n = cmd_key_count(c, argv, argc), *at = arena_get(a, (n + 1) * sizeof *at);
	bool physical = cl->role->perms & PERM_BIT(PERM_OPERATE) && !names_only(c);

	if (!at) {
		b->failed = true;
		return;
	}
	n = n ? cmd_keys(c, argv, argc, at) : 0;
	for (int full = 0; full <= physical; full++) {
		put_key(b, full ? "physical_keys" : "keys", false);
		buf_putc(b, '[');
		for (uint32_t i = 0; i < n; i++) {
			purser_bytes key = full ? isolate_key(cl->project, argv[at[i]], a) : argv[at[i]];

			buf_puts(b, i ? "," : "");
			put_bytes(b, key.p, key.n);
			b->failed |= full && !key.p;
		}
		buf_putc(b, ']');
	}
}

/* Does it run as the store's user of the project, on connections of that user's own? */
static bool confined(const struct client *cl, const struct command *c)
{
	const struct purser_instance *i = cl->w->ctx[cl->project->instance]->inst;

	return c->perm == PERM_SCRIPT && cl->project->scripts == SCRIPTS_ISOLATED && i->confines &&
	    !(i->p->caps & PURSER_CAP_CONFINES);
}

static const char *route_of(const struct client *cl, const struct command *c, const purser_bytes *argv, uint32_t argc)
{
	int64_t ms;

	switch ((enum cmd_run)c->run) {
	case RUN_LOCAL:
		return "agent";
	case RUN_SPACE:
	case RUN_FEATURE:
		return "agent, in steps";
	case RUN_TX:
		return c->id == CMD_WATCH ? "pinned" : "transaction";
	case RUN_BACKEND:
		break;
	}
	return cmd_blocks(c, argv, argc, &ms) ? "exclusive" : confined(cl, c) ? "confined" : "shared";
}

static void put_retry(struct buf *b, struct purser_ctx *x, const struct command *c, const purser_bytes *argv,
    uint32_t argc)
{
	static const char *const names[] = { [R_READ] = "read", [R_IDEMPOTENT] = "idempotent", [R_OPTIONS] = "options",
		[R_NEVER] = "never" };
	const struct guard_rules *rules = guard_rules(x);

	put_key(b, "retry", false);
	buf_printf(b, "{\"class\":\"%s\",\"twice_is_harmless\":%s,\"max_attempts\":%u}", names[c->retry],
	    cmd_idempotent(c, argv, argc) ? "true" : "false", rules->retry.max_attempts);
}

static void put_backend(struct buf *b, const struct request *r, const struct command *c, const purser_bytes *argv,
    uint32_t argc)
{
	struct purser_ctx *x = r->cl->w->ctx[r->cl->project->instance];
	enum guard_class class_ = c->flags & (F_WRITE | F_MAYWRITE) ? GUARD_WRITE : GUARD_READ;
	struct guard_view v;

	put_string(b, "backend", x->inst->name);
	put_string(b, "plugin", x->inst->p->name);
	put_key(b, "supported", false);
	buf_puts(b, c->run != RUN_BACKEND || x->inst->op_of[c->id] != OP_NONE ? "true" : "false");
	if (c->run == RUN_LOCAL)
		return;
	guard_view(x->inst, class_, loop_now(r->cl->w->loop), &v);
	put_key(b, "breaker", false);
	buf_printf(b, "{\"class\":\"%s\",\"state\":\"%s\",\"retry_after_ms\":%llu}", guard_class_name(class_),
	    breaker_name(v.state), (unsigned long long)((v.retry_after_ns + 999999) / 1000000));
	put_retry(b, x, c, argv, argc);
}

/* How much of each meter is left, for this connection, as if it asked now. */
static void put_meters(struct buf *b, const struct client *cl, const struct limits *l)
{
	uint64_t now = loop_now(cl->w->loop);
	bool own = cl->limit_ns == cl->project->ns + 1;

	for (unsigned i = 0; i < LIMIT_METERS; i++) {
		static const struct gcra unused;
		const struct gcra *g = i < LIMIT_SHARED ? (l->cell[i] ? &l->cell[i]->g : &unused) :
		    own ? &cl->limit[i - LIMIT_SHARED] : &unused;
		struct gcra_view v;

		if (!l->rule[i].step)
			continue;
		v = gcra_view(g, &l->rule[i], now);
		buf_printf(b, ",\"%s\":{\"limit\":%llu,\"remaining\":%llu,\"reset_ms\":%llu}", limit_names[i],
		    (unsigned long long)v.limit, (unsigned long long)v.remaining, (unsigned long long)(v.reset_ns / 1000000));
	}
	if (l->max_inflight)
		buf_printf(b, ",\"max_inflight\":%u", l->max_inflight);
	if (l->max_connections)
		buf_printf(b, ",\"max_connections\":%u", l->max_connections);
	if (l->quota.max_bytes)
		buf_printf(b, ",\"max_bytes\":%llu", (unsigned long long)l->quota.max_bytes);
	if (l->quota.max_keys)
		buf_printf(b, ",\"max_keys\":%llu", (unsigned long long)l->quota.max_keys);
}

static void put_limits(struct buf *b, const struct client *cl)
{
	struct purser_ctx *x = cl->w->ctx[cl->project->instance];

	put_key(b, "limits", false);
	buf_printf(b, "{\"timeout_ms\":%llu,\"databases\":%u,\"output_limit\":%zu",
	    (unsigned long long)(x->inst->operation_timeout_ns / 1000000), cl->project->databases, cl->gen->output_limit);
	if (cl->project->limits)
		put_meters(b, cl, cl->project->limits);
	buf_puts(b, "}");
}

static void explain(struct request *r, struct buf *b, const struct command *c, const purser_bytes *argv, uint32_t argc)
{
	struct client *cl = r->cl;
	struct access_answer a;
	bool may = client_decide(cl, c, argv, argc, &a);
	const char *never = may && cl->project ? script_never(cl->project, cl->w->ctx[cl->project->instance]->inst, c) : NULL;
	char name[64];

	cmd_lower(c, name, sizeof name);
	buf_putc(b, '{');
	put_key(b, "command", true);
	put_bytes(b, name, strlen(name));
	put_key(b, "project", false);
	if (cl->project)
		put_bytes(b, cl->project->name, strlen(cl->project->name));
	else
		buf_puts(b, "null");
	if (cl->role)
		put_string(b, "role", cl->role->name);
	put_string(b, "permission", cmd_perm_name((enum cmd_perm)c->perm));
	put_key(b, "allowed", false);
	buf_puts(b, may && !never ? "true" : "false");
	if (never) {
		put_string(b, "code", err_rows[ERR_NOPERM].word);
		put_string(b, "reason", never);
	}
	if (!may) {
		put_string(b, "code", err_rows[a.err].word);
		put_string(b, "reason", a.text);
	}
	if (!may && a.key)
		buf_printf(b, ",\"refused_argument\":%u", a.key);
	if (cl->project) {
		put_keys(b, cl, c, argv, argc, &r->arena);
		put_string(b, "route", route_of(cl, c, argv, argc));
		put_backend(b, r, c, argv, argc);
		put_limits(b, cl);
	}
	buf_putc(b, '}');
}

static void do_explain(struct request *r)
{
	const purser_bytes *argv = r->argv + 1;
	uint32_t argc = r->argc - 1;
	struct buf b = { .max = 1u << 20 };
	char why[384];
	const struct command *c = cmd_find(r->cl->w->commands, argv, argc, why, sizeof why);
	const struct cmd_refusal *no = c ? NULL : cmd_refused(argv, argc);

	if (!c && no && no->err != ERR_REDIS)
		local_failure(r, (enum err_code)no->err, no->text);
	else if (!c)
		local_error(r, no ? no->text : why);
	else {
		explain(r, &b, c, argv, argc);
		local_text(r, &b);
	}
}

void local_explain(req_handler *t)
{
	t[CMD_PURSER_EXPLAIN] = do_explain;
}
