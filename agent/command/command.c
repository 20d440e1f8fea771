/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <purser/resp.h>
#include "command/command.h"

#define K(first, last, step) first, last, step, KEYS_FIXED
#define KM(first, last, step, kind) first, last, step, KEYS_##kind
#define CAP_KV PURSER_CAP_KV
#define CAP_TTL PURSER_CAP_TTL
#define CAP_SCAN PURSER_CAP_SCAN
#define CAP_HASH PURSER_CAP_HASH
#define CAP_LIST PURSER_CAP_LIST
#define CAP_SET PURSER_CAP_SET
#define CAP_ZSET PURSER_CAP_ZSET
#define CAP_STREAM PURSER_CAP_STREAM
#define CAP_BATCH PURSER_CAP_BATCH
#define CAP_WATCH PURSER_CAP_WATCH
#define CAP_SCRIPT PURSER_CAP_SCRIPT
#define CAP_PUBSUB PURSER_CAP_PUBSUB
#define CAP_TRACKING PURSER_CAP_TRACKING
#define ROW(id_, name_, arity_, flags_, perm_, first_, last_, step_, more_, args_, xform_, cap_, \
	    retry_, run_, group_, summary_) \
	[CMD_##id_] = { .name = name_, .id = CMD_##id_, .arity = arity_, .flags = flags_, \
	    .perm = perm_, .args = args_, .transform = xform_, .retry = retry_, .run = run_, \
	    .group = group_, .first = first_, .last = last_, .step = step_, .more = more_, \
	    .name_len = sizeof(name_) - 1, .cap = cap_, .summary = summary_ },
#define CMD(...) ROW(__VA_ARGS__)

const struct command cmd_rows[CMD_COUNT] = {
#include "command/commands.def"
};

static inline uint32_t name_hash(const uint8_t *s, size_t n)
{
	uint32_t h = 2166136261u ^ (uint32_t)n;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (s[i] & 0xdfu)) * 16777619u;
	return (h ^ (h >> 13)) & 1023;
}

static void put_slot(struct cmd_index *x, const struct command *c, unsigned i)
{
	uint32_t at = name_hash((const uint8_t *)c->name, c->name_len);

	while (x->slot[at])
		at = (at + 1) & 1023;
	x->slot[at] = (uint16_t)(i + 1);
}

void cmd_index_build(struct cmd_index *x)
{
	memset(x, 0, sizeof *x);
	for (unsigned i = 0; i < CMD_COUNT; i++)
		put_slot(x, &cmd_rows[i], i);
}

int cmd_index_add(struct cmd_index *x, const struct command *row)
{
	if (x->ndeclared == CMD_DECLARED_MAX)
		return -1;
	x->declared[x->ndeclared] = row;
	put_slot(x, row, CMD_COUNT + x->ndeclared++);
	return 0;
}

static int same_name(const char *row, const uint8_t *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] != (uint8_t)row[i] && toupper(s[i]) != row[i])
			return 0;
	return 1;
}

const struct command *cmd_by_name(const struct cmd_index *x, const char *name, size_t n)
{
	const uint8_t *s = (const uint8_t *)name;
	uint32_t at = name_hash(s, n);

	for (; x->slot[at]; at = (at + 1) & 1023) {
		const struct command *c = cmd_at(x, x->slot[at] - 1u);

		if (c->name_len == n && same_name(c->name, s, n))
			return c;
	}
	return NULL;
}

/* One word of the caller for an error text, as Redis shows it: at most max bytes, a NUL ends it, line ends
 * become blanks. */
static int quote(char *dst, size_t cap, purser_bytes w, size_t max)
{
	size_t n = 0;

	for (; n < w.n && n < max && n + 1 < cap && w.p[n]; n++)
		dst[n] = w.p[n] == '\r' || w.p[n] == '\n' ? ' ' : (char)w.p[n];
	dst[n] = '\0';
	return (int)n;
}

/* The arguments share 128 bytes, their quotes not counted: again as Redis does. */
static void unknown(const purser_bytes *argv, uint32_t argc, char *err, size_t cap)
{
	char word[129];
	int at, room = 128;

	quote(word, sizeof word, argv[0], 128);
	at = snprintf(err, cap, "ERR unknown command '%s', with args beginning with: ", word);
	for (uint32_t i = 1; i < argc && room > 0 && (size_t)at < cap; i++) {
		room -= quote(word, sizeof word, argv[i], (size_t)room) + 3;
		at += snprintf(err + at, cap - (size_t)at, "'%s' ", word);
	}
}

static const struct command *subcommand(const struct cmd_index *x, const struct command *c,
    const purser_bytes *argv, char *err, size_t cap)
{
	const struct command *sub;
	char name[64], word[129];
	size_t n = c->name_len;

	memcpy(name, c->name, n);
	name[n++] = '|';
	if (argv[1].n < sizeof name - n) {
		memcpy(name + n, argv[1].p, argv[1].n);
		sub = cmd_by_name(x, name, n + argv[1].n);
		if (sub)
			return sub;
	}
	quote(word, sizeof word, argv[1], 128);
	snprintf(err, cap, "ERR unknown subcommand '%s'. Try %s HELP.", word, c->name);
	return NULL;
}

const struct command *cmd_find(const struct cmd_index *x, const purser_bytes *argv, uint32_t argc,
    char *err, size_t cap)
{
	const struct command *c = cmd_by_name(x, (const char *)argv[0].p, argv[0].n);
	char lower[64];

	if (!c) {
		unknown(argv, argc, err, cap);
		return NULL;
	}
	if ((c->flags & F_CONTAINER) && argc > 1) {
		c = subcommand(x, c, argv, err, cap);
		if (!c)
			return NULL;
	}
	if (cmd_arity_ok(c, argc))
		return c;
	cmd_lower(c, lower, sizeof lower);
	snprintf(err, cap, "ERR wrong number of arguments for '%s' command", lower);
	return NULL;
}

bool cmd_word_is(purser_bytes w, const char *name)
{
	size_t n = w.n ? strnlen((const char *)w.p, w.n) : 0;

	return n == strlen(name) && strncasecmp((const char *)w.p, name, n) == 0;
}

static uint32_t sequence(uint32_t *out, uint32_t first, uint32_t n)
{
	for (uint32_t i = 0; out && i < n; i++)
		out[i] = first + i;
	return n;
}

static uint32_t counted_keys(const purser_bytes *argv, uint32_t argc, uint32_t at, uint32_t *out)
{
	int64_t n;

	if (at >= argc || purser_resp_int(argv[at].p, argv[at].n, &n) || n < 1 || n > argc - at - 1)
		return 0;
	return sequence(out, at + 1, (uint32_t)n);
}

/* Options of XREAD and XREADGROUP from left to right, as Redis reads them; the position behind STREAMS,
 * 0: there is none.  *block: where the time of the last BLOCK is, or 0. */
static uint32_t streams_at(const purser_bytes *argv, uint32_t argc, uint32_t *block)
{
	*block = 0;
	for (uint32_t i = 1; i + 1 < argc; i++) {
		if (cmd_word_is(argv[i], "STREAMS"))
			return i + 1;
		if (cmd_word_is(argv[i], "NOACK"))
			continue;
		if (cmd_word_is(argv[i], "GROUP"))
			i += 2;
		else if (cmd_word_is(argv[i], "BLOCK"))
			*block = ++i;
		else if (cmd_word_is(argv[i], "COUNT"))
			i++;
		else
			break;
	}
	return 0;
}

static uint32_t stream_keys(const purser_bytes *argv, uint32_t argc, uint32_t *out)
{
	uint32_t block, at = streams_at(argv, argc, &block);

	return !at || (argc - at) % 2 ? 0 : sequence(out, at, (argc - at) / 2);
}

bool cmd_blocks(const struct command *c, const purser_bytes *argv, uint32_t argc, int64_t *ms)
{
	uint32_t at;

	if (c->args != A_BLOCK)
		return false;
	if (c->more == KEYS_STREAMS) {
		streams_at(argv, argc, &at);
		if (!at)
			return false;
		*ms = cmd_block_ms(argv[at]);
	} else if (c->id == CMD_WAIT) {
		*ms = cmd_block_ms(argv[2]);
	} else {
		*ms = cmd_block_seconds(argv[c->more == KEYS_COUNT_2 ? 1 : argc - 1]);
	}
	if (*ms < 0)
		*ms = 1;
	return true;
}

bool cmd_sort_next(const purser_bytes *argv, uint32_t argc, uint32_t *at, bool *store)
{
	for (uint32_t i = *at; i < argc; i++) {
		*store = cmd_word_is(argv[i], "STORE");
		if (*store || cmd_word_is(argv[i], "BY") || cmd_word_is(argv[i], "GET")) {
			*at = i + 1;
			return i + 1 < argc;
		}
		if (cmd_word_is(argv[i], "LIMIT"))
			i += 2;
		else if (!cmd_word_is(argv[i], "ASC") && !cmd_word_is(argv[i], "DESC") &&
		    !cmd_word_is(argv[i], "ALPHA"))
			break;
	}
	return false;
}

/* The last STORE is the one that counts. */
static uint32_t sort_key(const purser_bytes *argv, uint32_t argc, uint32_t *out)
{
	uint32_t n = 0;
	bool store;

	for (uint32_t at = 2; cmd_sort_next(argv, argc, &at, &store); at++)
		if (store) {
			n = 1;
			if (out)
				*out = at;
		}
	return n;
}

/* Every STORE and STOREDIST, though only the last one counts. */
static uint32_t geo_keys(const purser_bytes *argv, uint32_t argc, uint32_t from, uint32_t *out)
{
	static const char *const plain[] = { "WITHDIST", "WITHHASH", "WITHCOORD", "ANY", "ASC", "DESC" };
	uint32_t n = 0;

	for (uint32_t i = from; i < argc; i++) {
		unsigned k = 0;

		while (k < sizeof plain / sizeof *plain && !cmd_word_is(argv[i], plain[k]))
			k++;
		if (k < sizeof plain / sizeof *plain)
			continue;
		if (++i == argc)
			break;
		if (cmd_word_is(argv[i - 1], "STORE") || cmd_word_is(argv[i - 1], "STOREDIST")) {
			if (out)
				out[n] = i;
			n++;
		} else if (!cmd_word_is(argv[i - 1], "COUNT")) {
			break;
		}
	}
	return n;
}

uint32_t cmd_more_keys(const struct command *c, const purser_bytes *argv, uint32_t argc, uint32_t *out)
{
	switch ((enum cmd_more_keys)c->more) {
	case KEYS_COUNT_1:
		return counted_keys(argv, argc, 1, out);
	case KEYS_COUNT_2:
		return counted_keys(argv, argc, 2, out);
	case KEYS_STREAMS:
		return stream_keys(argv, argc, out);
	case KEYS_SORT:
		return sort_key(argv, argc, out);
	case KEYS_STORE:
		return geo_keys(argv, argc, (uint32_t)-c->arity, out);
	case KEYS_USER:
		if (argc != 4 || !cmd_word_is(argv[2], "USER"))
			return 0;
		if (out)
			*out = 3;
		return 1;
	case KEYS_FIXED:
		break;
	}
	return 0;
}

const char *cmd_group_name(enum cmd_group g)
{
	static const char *const names[] = { [G_STRING] = "string", [G_GENERIC] = "generic",
		[G_HASH] = "hash", [G_CONNECTION] = "connection", [G_SERVER] = "server",
		[G_PURSER] = "module", [G_LIST] = "list", [G_SET] = "set", [G_ZSET] = "sorted-set",
		[G_STREAM] = "stream", [G_BITMAP] = "bitmap", [G_HYPERLOGLOG] = "hyperloglog",
		[G_GEO] = "geo", [G_TRANSACTIONS] = "transactions", [G_SCRIPTING] = "scripting",
		[G_PUBSUB] = "pubsub", [G_CACHE] = "module", [G_SESSION] = "module", [G_LOCK] = "module",
		[G_JOB] = "module" };

	return names[g];
}

const char *cmd_perm_name(enum cmd_perm p)
{
	static const char *const names[] = { [PERM_ANY] = "any", [PERM_READ] = "redis:read",
		[PERM_WRITE] = "redis:write", [PERM_ADMIN] = "redis:admin", [PERM_PUBSUB] = "pubsub",
		[PERM_SCRIPT] = "script", [PERM_OPERATE] = "purser:operate" };

	return names[p];
}

size_t cmd_lower(const struct command *c, char *dst, size_t cap)
{
	size_t n = c->name_len < cap - 1 ? c->name_len : cap - 1;

	for (size_t i = 0; i < n; i++)
		dst[i] = (char)tolower((unsigned char)c->name[i]);
	dst[n] = '\0';
	return n;
}

static const struct command *row_of(purser_bytes name)
{
	for (unsigned i = 0; i < CMD_COUNT; i++)
		if (cmd_word_is(name, cmd_rows[i].name))
			return &cmd_rows[i];
	return NULL;
}

/* Where the command begins that c is about; 0: about none. */
static uint32_t about(const struct command *c)
{
	return c->id == CMD_PURSER_EXPLAIN ? 1 : c->id == CMD_COMMAND_GETKEYS || c->id == CMD_COMMAND_GETKEYSANDFLAGS ? 2 : 0;
}

bool cmd_secret(const struct command *c, const purser_bytes *argv, uint32_t argc, uint32_t i)
{
	uint32_t at;

	while (c && (at = about(c)) && at < i && i < argc) {
		argv += at;
		argc -= at;
		i -= at;
		c = row_of(*argv);
	}
	if (!c)
		return false;
	if (!(c->flags & F_SECRET) || i == 0 || i >= argc)
		return false;
	switch ((enum cmd_id)c->id) {
	case CMD_HELLO: /* an option may be called AUTH, and there may be two */
		for (uint32_t k = 2; k < i; k++)
			if (cmd_word_is(argv[k], "AUTH"))
				return true;
		return false;
	case CMD_AUTH:
		return true;
	case CMD_SESSION_DESTROYUSER:
		return i > 1;
	default: /* an id stands first */
		return i == 1;
	}
}
