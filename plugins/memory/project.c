/* SPDX-License-Identifier: Apache-2.0
 *
 * Accounts of projects: see project.h.
 */
#include <stdlib.h>
#include <string.h>
#include "project.h"
#include "keyspace.h"
#include "measure.h"
#include "table.h"

static uint32_t known(const struct store *st)
{
	return atomic_load_explicit(&st->nprojects, memory_order_acquire);
}

static int has_prefix(const struct project *p, purser_bytes key)
{
	return p->n <= key.n && memcmp(p->prefix, key.p, p->n) == 0;
}

/* ---- accounts -------------------------------------------------------------------------------------------- */
static void add(_Atomic int64_t *to, int64_t d) { if (d) count_add(to, d); }

static struct account *mine(const struct ctx *cx, uint32_t project)
{
	return &cx->st->account[project][cx->ledger_slot];
}

void account_fold(struct ctx *cx, uint32_t project)
{
	struct ledger *l = cx->led;
	struct account *a = mine(cx, atomic_load_explicit(&l->project, memory_order_relaxed));
	_Atomic int64_t *now = &l->used;
	unsigned i;

	for (i = 0; i < ACCOUNT_FIELDS; i++) {
		int64_t v = atomic_load_explicit(&now[i], memory_order_relaxed);
		int64_t d = v - atomic_load_explicit(&l->mark[i], memory_order_relaxed);

		if (d) {
			atomic_store_explicit(&l->mark[i], v, memory_order_relaxed);
			count_add(&a->v[i], d);
		}
	}
	atomic_store_explicit(&l->project, project, memory_order_relaxed);
}

/* Moves what stands in one account, or has yet to be put in it, to another. */
static void move(struct ctx *cx, uint32_t from, uint32_t to, unsigned field, int64_t d)
{
	add(&mine(cx, from)->v[field], -d);
	add(&mine(cx, to)->v[field], d);
}

void account_not_mine(struct ctx *cx, int64_t bytes)
{
	move(cx, atomic_load_explicit(&cx->led->project, memory_order_relaxed), PROJECT_NONE, ACCOUNT_USED,
	    bytes);
}

void account_key_gone(struct ctx *cx, int had_ttl)
{
	uint32_t project = atomic_load_explicit(&cx->led->project, memory_order_relaxed);

	move(cx, project, PROJECT_NONE, ACCOUNT_KEYS, 1);
	move(cx, project, PROJECT_NONE, ACCOUNT_TTLS, had_ttl);
}

void *own_get(struct ctx *cx, size_t n)
{
	int64_t before = account_before(cx);
	void *p = mem_get(cx, n);

	account_tables(cx, before);
	return p;
}

void own_put(struct ctx *cx, void *p, size_t n)
{
	int64_t before = account_before(cx);

	mem_put(cx, p, n);
	account_tables(cx, before);
}

int64_t project_sum(const struct store *st, uint32_t project, unsigned field)
{
	uint32_t n = atomic_load_explicit(&st->nledgers, memory_order_acquire), i;
	int64_t sum = 0;

	for (i = 0; i < n; i++) {
		const struct ledger *l = st->ledger[i];

		sum += atomic_load_explicit(&st->account[project][i].v[field], memory_order_relaxed);
		if (atomic_load_explicit(&l->project, memory_order_relaxed) == project)
			sum += atomic_load_explicit(&(&l->used)[field], memory_order_relaxed) -
			    atomic_load_explicit(&l->mark[field], memory_order_relaxed);
	}
	if (field == ACCOUNT_USED)
		sum -= atomic_load_explicit(&st->project_released[project], memory_order_relaxed);
	return sum;
}

/* ---- which project ----------------------------------------------------------------------------------------- */
uint32_t project_of_key(const struct ctx *cx, purser_bytes key)
{
	uint32_t n = known(cx->st), i = cx->owner;

	if (i > PROJECT_BARE && i < n && has_prefix(cx->st->project[i], key))
		return i;
	for (i = PROJECT_BARE + 1; i < n; i++)
		if (has_prefix(cx->st->project[i], key))
			return i;
	return PROJECT_BARE;
}

static int64_t find(const struct store *st, purser_bytes prefix)
{
	uint32_t n = known(st), i;

	for (i = PROJECT_BARE + 1; i < n; i++)
		if (st->project[i]->n == prefix.n && !memcmp(st->project[i]->prefix, prefix.p, prefix.n))
			return i;
	return -1;
}

int64_t project_known(struct ctx *cx, const purser_call *c)
{
	uint32_t n = known(cx->st), i;

	if (!c->ns_prefix)
		return PROJECT_BARE;
	for (i = PROJECT_BARE + 1; i < n; i++)
		if (atomic_load_explicit(&cx->st->project[i]->id, memory_order_relaxed) == call_project(c))
			return i;
	return -1;
}

/* ---- a prefix that is new ------------------------------------------------------------------------------------ */
struct claim { struct ctx *cx; const struct project *p; uint32_t to; int failed; };

/* A key of the prefix that came before its project did (a snapshot, or a project without a prefix wrote it). */
static int claim_item(void *arg, uint64_t slot)
{
	struct claim *w = arg;
	struct item *it = slot_item(slot);

	if (!has_prefix(w->p, (purser_bytes){ item_key(it), item_klen(it) }))
		return 0;
	if (!w->to) /* the first walk: what could fail */
		return w->failed = item_blob_alone(w->cx, it) != 0;
	move(w->cx, PROJECT_BARE, w->to, ACCOUNT_USED, (int64_t)item_memory(it));
	move(w->cx, PROJECT_BARE, w->to, ACCOUNT_KEYS, 1);
	move(w->cx, PROJECT_BARE, w->to, ACCOUNT_TTLS, item_has_ttl(it));
	item_set_owner(it, w->to);
	return 0;
}

static void claim_walk(struct claim *w)
{
	struct store *st = w->cx->st;
	uint32_t s, d;

	for (s = 0; s < SHARDS; s++)
		for (d = 0; d < st->databases && !w->failed; d++)
			if (st->shard[s].db[d])
				table_each(st->shard[s].db[d], claim_item, w);
}

static struct account *accounts_new(void)
{
	struct account *a = aligned_alloc(64, LEDGERS * sizeof(*a));

	if (a)
		memset(a, 0, LEDGERS * sizeof(*a));
	return a;
}

/* All shards are locked, so that nobody makes a key of the prefix meanwhile. */
static int64_t add_project(struct ctx *cx, purser_bytes prefix)
{
	struct store *st = cx->st;
	uint32_t n = known(st);
	struct claim w = { .cx = cx };
	struct project *p;

	if (n == PROJECTS_MAX || prefix.n > PROJECT_PREFIX_MAX)
		return PROJECT_BARE; /* as project_of_key() will say of its keys */
	p = malloc(sizeof(*p));
	st->account[n] = accounts_new();
	if (!p || !st->account[n])
		goto fail;
	atomic_init(&p->id, PROJECT_ANY);
	p->n = (uint32_t)prefix.n;
	memcpy(p->prefix, prefix.p, prefix.n);
	w.p = p;
	if (project_sum(st, PROJECT_BARE, ACCOUNT_KEYS)) {
		account_fold(cx, PROJECT_BARE);
		claim_walk(&w);
		if (w.failed)
			goto fail;
		w.to = n;
		claim_walk(&w);
	}
	st->project[n] = p;
	atomic_store_explicit(&st->nprojects, n + 1, memory_order_release);
	return n;
fail:
	free(p);
	free(st->account[n]);
	st->account[n] = NULL;
	return -1;
}

static int64_t project_of_prefix(struct ctx *cx, purser_bytes prefix)
{
	int64_t i = find(cx->st, prefix);
	uint32_t mine_locks;

	if (i >= 0)
		return i;
	mine_locks = SHARDS_ALL & ~cx->held;
	if (cx->held)
		shards_lock(cx, mine_locks);
	else if (shards_claim(cx, mine_locks)) {
		cx->put_off = 1; /* a script takes long */
		return -1;
	}
	i = find(cx->st, prefix);
	if (i < 0)
		i = add_project(cx, prefix);
	shards_unlock(cx, mine_locks);
	return i;
}

uint32_t project_learn(struct ctx *cx, purser_bytes key)
{
	static const char begin[] = "proj:";
	uint32_t at = project_of_key(cx, key);
	const uint8_t *end;
	int64_t made;

	if (at != PROJECT_BARE || key.n <= sizeof(begin) || memcmp(key.p, begin, sizeof(begin) - 1))
		return at;
	end = memchr(key.p + sizeof(begin) - 1, ':', key.n - (sizeof(begin) - 1));
	made = end ? project_of_prefix(cx, (purser_bytes){ key.p, (size_t)(end - key.p) + 1 }) : PROJECT_BARE;
	return made < 0 ? PROJECT_BARE : (uint32_t)made; /* no memory: it is claimed at its project's first command */
}

int project_switch(struct ctx *cx, const purser_call *c, purser_bytes key)
{
	struct seen *s = &cx->seen[c->ns % PROJECTS_SEEN];
	purser_bytes prefix = { key.p, c->ns_prefix };
	int64_t i = PROJECT_BARE;

	if (prefix.n > key.n)
		prefix.n = 0;
	if (prefix.n) {
		i = s->project;
		if (s->id != call_project(c) || !has_prefix(cx->st->project[i], key))
			i = project_of_prefix(cx, prefix);
		if (i < 0)
			return -1;
		if (i > PROJECT_BARE) {
			s->id = call_project(c);
			s->project = (uint32_t)i;
			atomic_store_explicit(&cx->st->project[i]->id, s->id, memory_order_relaxed);
		}
	}
	account_enter(cx, (uint32_t)i);
	cx->owner = (uint32_t)i;
	cx->project = call_project(c);
	return 0;
}

/* ---- a project without a prefix beside others ------------------------------------------------------------------ */
struct share { uint32_t project; int64_t used, keys, ttls; };

static purser_bytes key_at(const purser_call *c, uint32_t i, uint32_t first, uint32_t step, const uint32_t *keys)
{
	return c->argv[keys ? keys[i] : first + i * step];
}

/* The same key twice counts once. */
static int earlier(const purser_call *c, uint32_t i, uint32_t first, uint32_t step, const uint32_t *keys)
{
	purser_bytes a = key_at(c, i, first, step, keys), b;
	uint32_t j;

	for (j = 0; j < i; j++) {
		b = key_at(c, j, first, step, keys);
		if (a.n == b.n && memcmp(a.p, b.p, a.n) == 0)
			return 1;
	}
	return 0;
}

/* What the key has in all databases: COPY and MOVE go from one to another. */
static void weigh(struct ctx *cx, struct share *s, purser_bytes key, uint64_t hash, int sign)
{
	uint32_t d;

	for (d = 0; d < cx->st->databases; d++) {
		struct table *t = *db_table(cx->st, hash, d);
		uint64_t *slot = t ? table_find(t, hash, key.p, key.n) : NULL;

		if (!slot)
			continue;
		s->used += sign * (int64_t)item_memory(slot_item(*slot));
		s->keys += sign;
		s->ttls += sign * item_has_ttl(slot_item(*slot));
		if (sign > 0)
			item_set_owner(slot_item(*slot), s->project);
	}
}

/* Nothing of the key is shared, and it will not expire while the command runs. */
static int all_alone(struct ctx *cx, purser_bytes key, uint64_t hash)
{
	uint32_t d;
	struct pos p;

	for (d = 0; d < cx->st->databases; d++)
		if (key_find(cx, &p, d, key, hash, FIND_NOTOUCH | FIND_QUIET) &&
		    item_blob_alone(cx, p.it))
			return -1;
	return 0;
}

int project_run_bare(struct ctx *cx, purser_call *c, project_fn *fn, uint32_t n, uint32_t first, uint32_t step,
    const uint32_t *keys)
{
	uint32_t one = project_of_key(cx, key_at(c, 0, first, step, keys)), i, same = 1;
	struct share *s;

	for (i = 1; i < n && same; i++)
		same = project_of_key(cx, key_at(c, i, first, step, keys)) == one;
	account_enter(cx, one);
	if (same) {
		fn(cx, c);
		return 0;
	}
	s = calloc(n, sizeof(*s));
	if (!s)
		return -1;
	for (i = 0; i < n; i++) {
		purser_bytes key = key_at(c, i, first, step, keys);

		s[i].project = project_of_key(cx, key);
		account_enter(cx, s[i].project);
		if (all_alone(cx, key, cx->hash[i])) {
			free(s);
			return -1;
		}
		if (!earlier(c, i, first, step, keys))
			weigh(cx, &s[i], key, cx->hash[i], -1);
	}
	account_enter(cx, PROJECT_NONE);
	cx->mixed = 1;
	fn(cx, c);
	cx->mixed = 0;
	for (i = 0; i < n; i++) {
		if (!earlier(c, i, first, step, keys))
			weigh(cx, &s[i], key_at(c, i, first, step, keys), cx->hash[i], 1);
		move(cx, PROJECT_NONE, s[i].project, ACCOUNT_USED, s[i].used);
		move(cx, PROJECT_NONE, s[i].project, ACCOUNT_KEYS, s[i].keys);
		move(cx, PROJECT_NONE, s[i].project, ACCOUNT_TTLS, s[i].ttls);
	}
	free(s);
	return 0;
}

/* ---- the store's ----------------------------------------------------------------------------------------------- */
int projects_start(struct store *st)
{
	st->account[PROJECT_NONE] = accounts_new();
	st->account[PROJECT_BARE] = accounts_new();
	atomic_init(&st->nprojects, PROJECT_BARE + 1);
	return st->account[PROJECT_NONE] && st->account[PROJECT_BARE] ? 0 : -1;
}

void projects_stop(struct store *st)
{
	uint32_t i;

	for (i = 0; i < PROJECTS_MAX; i++) {
		free(st->account[i]);
		free(st->project[i]);
	}
}
