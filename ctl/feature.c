/* SPDX-License-Identifier: Apache-2.0
 *
 * purserctl: locks, sessions, caches and streams.  A verb is one command of the agent, and its words are that command's,
 * so that docs/locks.md and its sisters hold here too; but a time may have a unit (30s), an id may be - (read from
 * standard input, where no list of processes shows it), and what is locked by "acquire" has a ttl and no connection.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "config/value.h"
#include "ctl.h"

/* words: TIME is one, and so is what follows a word that TIME follows in brackets; ID may be "-". */
static const struct verb {
	const char *group, *name, *command, *words, *summary;
	const char *more;           /* a word and its value, unless that word was given */
} verbs[] = {
	{ "lock", "acquire", "LOCK.ACQUIRE", "NAME TIME [WAIT TIME] [MAXHOLD TIME] [KIND read|write] [PERMITS N OF M] [MINREPLICAS N]",
	  "take a lock for that long; status 1 when somebody else has it", "MODE lease" },
	{ "lock", "renew", "LOCK.RENEW", "NAME FENCE TIME", "hold it for so long from now on", NULL },
	{ "lock", "release", "LOCK.RELEASE", "NAME FENCE", "give it back", NULL },
	{ "lock", "fence", "LOCK.FENCE", "NAME FENCE SET|HSET|DEL KEY [WORD...]", "write, unless a newer fence has been there", NULL },
	{ "lock", "info", "LOCK.INFO", "NAME", "who has it, and who waits for it", NULL },
	{ "lock", "list", "LOCK.LIST", "[PATTERN]", "what clients of this agent hold and wait for", NULL },
	{ "lock", "run", "LOCK.ACQUIRE", "NAME TIME [WAIT TIME] [MAXHOLD TIME] [KIND read|write] [PERMITS N OF M] -- COMMAND [ARGUMENT...]",
	  "run a command while the lock is held, with PURSER_LOCK and PURSER_FENCE; it is ended if the lock is lost", NULL },
	{ "session", "create", "SESSION.CREATE", "USER TIME [ABS TIME] [DATA JSON]", "begin a session; its id is printed here and never again", NULL },
	{ "session", "get", "SESSION.GET", "ID [NOTOUCH]", "what it holds", NULL },
	{ "session", "update", "SESSION.UPDATE", "ID FIELD JSON [FIELD JSON...] [IFVER N]", "change fields; null removes one", NULL },
	{ "session", "extend", "SESSION.EXTEND", "ID TIME", "let it live at least so long from now", NULL },
	{ "session", "rotate", "SESSION.ROTATE", "ID [USER NAME]", "give it another id", NULL },
	{ "session", "destroy", "SESSION.DESTROY", "ID", "end it", NULL },
	{ "session", "list", "SESSION.LIST", "USER [LIMIT N]", "the sessions of a user, without their ids", NULL },
	{ "session", "destroy-user", "SESSION.DESTROYUSER", "USER [EXCEPT ID] [HANDLE HANDLE]", "end those of a user", NULL },
	{ "session", "stats", "SESSION.STATS", "", "how many live, and what became of others", NULL },
	{ "session", "cleanup", "SESSION.CLEANUP", "", "take expired ones out of the index now", NULL },
	{ "cache", "stats", "CACHE.STATS", "[RESET]", "hits, misses, sets, deletes, errors, keys, memory", NULL },
	{ "cache", "incr", "CACHE.INCRBY", "KEY DELTA TIME", "add to a counter that lives so long once it is created", NULL },
	{ "cache", "mset", "CACHE.MSET", "TIME KEY VALUE [KEY VALUE...]", "store values that live equally long", NULL },
	{ "cache", "setm", "CACHE.SETM", "KEY VALUE JSON [PX TIME]", "store a value with metadata", NULL },
	{ "cache", "meta", "CACHE.META", "KEY", "the metadata of a value; status 1 when it has none", NULL },
	{ "stream", "lag", "STREAM.LAG", "KEY", "lag and pending entries of each group", NULL },
	{ "stream", "deadletter", "STREAM.DEADLETTER", "KEY GROUP TARGET MAXDELIVERIES N [IDLE TIME] [FROM ID]",
	  "move entries that were delivered too often to another stream", NULL },
};
#define NVERBS (sizeof verbs / sizeof *verbs)
enum { ID_MAX_BYTES = 512 };

/* ---- help ---- */

void feature_help(const struct ctl *x)
{
	for (size_t i = 0; i < NVERBS; i++) {
		const struct verb *v = &verbs[i];

		if (strcmp(v->group, x->name) == 0)
			printf("  %s %s%s%s\n      %s\n", v->group, v->name, *v->words ? " " : "", v->words, v->summary);
	}
	putchar('\n');
}

static const struct verb *find(struct ctl *x)
{
	char list[256] = "";
	size_t n = 0;

	for (size_t i = 0; i < NVERBS; i++) {
		if (strcmp(verbs[i].group, x->name) != 0)
			continue;
		if (x->argc && strcmp(verbs[i].name, x->argv[0]) == 0)
			return &verbs[i];
		n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", verbs[i].name);
	}
	ctl_fail(x, CTL_USAGE, "purserctl %s has no %s: there are %s", x->name, x->argc ? x->argv[0] : "verb of that name", list);
	return NULL;
}

/* ---- words ---- */

/* The next token of the words of a verb, its length, and whether it opens an option. */
static const char *token(const char *at, size_t *n, bool *opens)
{
	while (*at == ' ')
		at++;
	*opens = *at == '[';
	at += *opens;
	*n = strcspn(at, " ]");
	return at;
}

/* What stands at position i of the words as they were given: TIME, ID, or something else. */
static const char *meaning(const struct verb *v, char **argv, int i)
{
	const char *at = v->words;
	bool opens = false, option = false;
	size_t n;

	for (int k = 0; *at; k += !option) {
		at = token(at, &n, &opens);
		option |= opens;
		if (option && opens && i > 0 && strlen(argv[i - 1]) == n && strncasecmp(argv[i - 1], at, n) == 0)
			return token(at + n, &n, &opens);
		if (!option && k == i)
			return at;
		at += n;
		at += *at == ']';
	}
	return "";
}

static bool means(const char *at, const char *word)
{
	size_t n = strlen(word);

	return strncmp(at, word, n) == 0 && (!at[n] || at[n] == ' ' || at[n] == ']');
}

/* A time as milliseconds: a number is that, 30s and 5m are what they say. */
static int read_time(struct ctl *x, char *word, char *to, size_t cap)
{
	static const struct value_rule rule = { VALUE_DURATION, INT64_C(1000000), INT64_MAX, NULL };
	struct value v;
	char why[200];

	if (strspn(word, "0123456789") == strlen(word)) {
		snprintf(to, cap, "%s", word);
		return CTL_OK;
	}
	if (value_parse(&rule, word, &v, why, sizeof why) != 0)
		return ctl_fail(x, CTL_USAGE, "%s: a time is 500ms, 30s, 5m or a number of milliseconds: %s", word, why);
	snprintf(to, cap, "%lld", (long long)(v.num / 1000000));
	return CTL_OK;
}

/* The id is the first line of standard input. */
static int read_id(struct ctl *x, char *to, size_t cap)
{
	if (!fgets(to, (int)cap, stdin))
		return ctl_fail(x, CTL_USAGE, "-: there is no line on standard input");
	to[strcspn(to, "\r\n")] = '\0';
	return CTL_OK;
}

/* Whoever waits in the agent for so long must not give up here before. */
static void wait_longer(struct ctl *x, const char *word, const char *ms)
{
	if (strcasecmp(word, "WAIT") == 0)
		x->timeout.tv_sec += (time_t)(strtoll(ms, NULL, 10) / 1000 + 1);
}

/* The word as the command wants it. */
static int take_word(struct ctl *x, const struct verb *v, int i, json_t *words)
{
	const char *is = meaning(v, x->argv + 1, i - 1);
	char room[ID_MAX_BYTES], *w = x->argv[i];
	int rc = CTL_OK;

	if (means(is, "TIME")) {
		rc = read_time(x, w, room, sizeof room);
		if (rc == CTL_OK && i > 1)
			wait_longer(x, x->argv[i - 1], room);
		w = room;
	} else if (means(is, "ID") && strcmp(w, "-") == 0 && strcmp(v->group, "session") == 0) {
		rc = read_id(x, room, sizeof room);
		w = room;
	}
	if (rc == CTL_OK)
		json_array_append_new(words, json_text(w, strlen(w)));
	explicit_bzero(room, sizeof room);
	return rc;
}

static int take_words(struct ctl *x, const struct verb *v, int n, json_t *words)
{
	bool more = v->more != NULL;

	json_array_append_new(words, json_string(v->command));
	for (int i = 1; i < n; i++) {
		int rc = take_word(x, v, i, words);

		if (rc != CTL_OK)
			return rc;
		more &= strcasecmp(x->argv[i], "MODE") != 0;
	}
	if (more) {
		json_array_append_new(words, json_stringn(v->more, strcspn(v->more, " ")));
		json_array_append_new(words, json_string(strchr(v->more, ' ') + 1));
	}
	return CTL_OK;
}

/* Words that must be there. */
static int needed(const struct verb *v)
{
	const char *at = v->words;
	bool opens;
	size_t n;
	int k = 0;

	while (*at) {
		at = token(at, &n, &opens);
		if (opens || strncmp(at, "--", 2) == 0)
			break;
		k += n != 0;
		at += n;
	}
	return k;
}

/* ---- the command ---- */

static int answer(struct ctl *x, const struct verb *v, json_t *r)
{
	bool none = json_is_null(r);

	if (x->json) {
		print_json(r);
	} else if (none) {
		fprintf(stderr, "purserctl: %s\n", strcmp(v->name, "acquire") == 0 ?
		    "somebody else has it: wait for it with WAIT TIME" : "there is none");
		json_decref(r);
	} else {
		print_tree(r);
	}
	return none ? CTL_NO : CTL_OK;
}

int cmd_feature(struct ctl *x)
{
	const struct verb *v = find(x);
	bool run = v && strcmp(v->name, "run") == 0;
	int n = run && x->literal_at > 0 ? x->literal_at : x->argc, rc;
	json_t *words, *r = NULL;

	if (!v)
		return CTL_USAGE;
	if (n - 1 < needed(v) || (run && (x->literal_at <= 0 || x->literal_at == x->argc)))
		return ctl_fail(x, CTL_USAGE, "usage: purserctl %s %s %s", v->group, v->name, v->words);
	words = json_array();
	rc = take_words(x, v, n, words);
	if (rc != CTL_OK) {
		json_decref(words);
		return rc;
	}
	if (run)
		return ctl_hold(x, words, x->argv + x->literal_at);
	rc = ctl_http_ask(x, words, &r);
	return rc == CTL_OK ? answer(x, v, r) : rc;
}
