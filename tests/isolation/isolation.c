/* SPDX-License-Identifier: Apache-2.0
 *
 * isolation --agent SOCKET --store SOCKET --a NAME --model-a SOCKET --b NAME --model-b SOCKET
 *     [--seconds N | --episodes N] [--seed S] [--databases N] [--undeclared 1|2] [--shrink 0]
 * isolation --exceptions
 *
 * Two projects, NAME and NAME, of one agent against a private redis-server for each.  --store: who knows how many clients
 * wait in the agent's store (that store, or the agent itself).  Status 0: nobody heard of anybody; 1: a finding, printed with
 * the few commands that show it; 2: no server; 3: rows of the agent's table are neither sent nor excepted.
 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "iso.h"

const struct special specials[] = {
#define SPECIAL(weight, how, rule, text, reason) { weight, how, rule, text, reason },
#include "commands.def"
#undef SPECIAL
};
const size_t nspecials = sizeof(specials) / sizeof(*specials);

struct plain { enum rule rule; const char *text; };
static const struct plain plains[] = {
#define LINE(weight, rule, text) { rule, text },
#include "../differential/commands.def"
#undef LINE
};

/* ---- what is sent ---------------------------------------------------------------------------------------------- */
static const char *const rows[] = {
#define CMD(id, name, ...) name,
#include "../../agent/command/commands.def"
#undef CMD
};
#define ROWS (sizeof(rows) / sizeof(*rows))
static uint64_t count[ROWS];

/* What text begins with: NAME, or NAME|SECOND where there is such a row. */
static int row_of(const char *first, size_t n, const char *second, size_t m)
{
	char name[64];
	size_t i;
	int k;

	for (k = 0; k < 2; k++) {
		snprintf(name, sizeof(name), k ? "%.*s" : "%.*s|%.*s", (int)n, first, (int)m, second);
		for (i = 0; i < ROWS; i++)
			if (!strcasecmp(rows[i], name))
				return (int)i;
	}
	return -1;
}

void sent(const struct cmd *c)
{
	int r;

	if (!c->argc || c->argv[0].n > 30)
		return;
	r = row_of((const char *)c->argv[0].p, c->argv[0].n, c->argc > 1 ? (const char *)c->argv[1].p : "",
	    c->argc > 1 && c->argv[1].n < 30 ? c->argv[1].n : 0);
	if (r >= 0)
		count[r]++;
}

static int row_of_line(const char *text)
{
	size_t n = strcspn(text, " "), m = text[n] ? strcspn(text + n + 1, " ") : 0;

	return row_of(text, n, text + n + (text[n] != 0), m);
}

static int is_container(size_t row)
{
	size_t i, n = strlen(rows[row]);

	for (i = 0; i < ROWS; i++)
		if (!strncmp(rows[i], rows[row], n) && rows[i][n] == '|')
			return 1;
	return 0;
}

/* Rows for which there is no line: the table has grown, and nobody has thought about it here. */
static int missing(void)
{
	static int known[ROWS];
	size_t i;
	int n = 0, r;

	for (i = 0; i < sizeof(plains) / sizeof(*plains); i++)
		if ((r = row_of_line(plains[i].text)) >= 0)
			known[r] = 1;
	for (i = 0; i < nspecials; i++)
		if ((r = row_of_line(specials[i].text)) >= 0)
			known[r] = 1;
	for (i = 0; i < ROWS; i++)
		if (!known[i] && !is_container(i)) {
			printf("no line in tests/isolation/commands.def for %s\n", rows[i]);
			n++;
		}
	return n;
}

static void unsent(void)
{
	size_t i;
	int n = 0;

	for (i = 0; i < ROWS; i++)
		if (!count[i] && !is_container(i))
			printf("%s%s", n++ ? ", " : "not sent in this run: ", rows[i]);
	if (n)
		printf("\n");
}

/* ---- what is not compared byte by byte ------------------------------------------------------------------------------ */
static void exceptions(void)
{
	static const char *const rules[] = {
		[EXACT] = "", [SORTED] = "in any order: the order is a table's", [PAIRS] = "pairs in any order: the order is a table's",
		[SECONDS] = "one second more or less: the clock", [MILLISECONDS] = "as far apart as the servers were: the clock",
		[SHAPE] = "the same type: chance, age or memory of the server itself",
		[TIMES] = "but for times: the clock", [IDLES] = "but for times: the clock",
		[SCAN_ALL] = "the whole iteration, as a set: order and cursors are the server's own",
		[HSCAN_ALL] = "the whole iteration, as a set: order and cursors are the server's own",
		[SSCAN_ALL] = "the whole iteration, as a set: order and cursors are the server's own",
		[RANDOM_KEY] = "a key that exists in the project: chance",
		[RANDOM_FIELDS] = "elements that are there, so many: chance",
		[CROSSED] = "what one has dumped the other restores: the bytes are the server's own"
	};
	static const char *const how[] = { [PLAIN] = "compared", [LOOSE] = "compared", [LINES] = "lines", [CHANNELS] = "compared", [ALONE] = "agent only", [REFUSED] = "refused" };
	size_t i, k;

	for (i = 0; i < sizeof(plains) / sizeof(*plains); i++) {
		const char *text = plains[i].text;
		size_t n = strcspn(text, " ");

		for (k = 0; k < i; k++)
			if (plains[k].rule == plains[i].rule && !strncmp(plains[k].text, text, n + 1))
				break;
		if (plains[i].rule != EXACT && k == i)
			printf("| `%.*s` | compared | %s |\n", (int)n, text, rules[plains[i].rule]);
	}
	for (i = 0; i < nspecials; i++)
		if (*specials[i].reason)
			printf("| `%s` | %s | %s |\n", specials[i].text, how[specials[i].how], specials[i].reason);
}

/* ---- main ------------------------------------------------------------------------------------------------------------ */
static int usage(void)
{
	fputs("usage: isolation --agent SOCKET --store SOCKET --a NAME --model-a SOCKET --b NAME --model-b SOCKET\n"
	    "    [--seconds N | --episodes N] [--seed S] [--databases N] [--undeclared 1|2] [--shrink 0]\n       isolation --exceptions\n", stderr);
	return 2;
}

static int options(struct iso_options *o, int argc, char **argv)
{
	int i;

	for (i = 1; i + 1 < argc; i += 2) {
		const char *k = argv[i], *v = argv[i + 1];
		char *end;
		unsigned long long n = strtoull(v, &end, 10);
		int number = *v && !*end;

		if (!strcmp(k, "--agent"))
			o->agent = v;
		else if (!strcmp(k, "--store"))
			o->store = v;
		else if (!strcmp(k, "--a") || !strcmp(k, "--b"))
			o->name[k[2] == 'b'] = v;
		else if (!strcmp(k, "--model-a") || !strcmp(k, "--model-b"))
			o->model[k[8] == 'b'] = v;
		else if (!strcmp(k, "--seconds") && number)
			o->seconds = (double)n;
		else if (!strcmp(k, "--episodes") && number)
			o->episodes = n;
		else if (!strcmp(k, "--seed") && number)
			o->seed = n;
		else if (!strcmp(k, "--databases") && number && n >= 1 && n <= 16)
			o->databases = (uint32_t)n;
		else if (!strcmp(k, "--shrink") && number)
			o->quick = n == 0;
		else if (!strcmp(k, "--undeclared") && number)
			o->undeclared = (int)n;
		else
			return -1;
	}
	return i < argc || !o->agent || !o->store || !o->model[0] || !o->model[1] || !o->name[0] || !o->name[1] ? -1 : 0;
}

static void begin(struct world *w)
{
	struct gen g = { .rng = w->o->seed };
	unsigned i, k;

	for (i = 0; i < 2; i++) {
		struct project *p = &w->p[i];

		p->w = w;
		p->name = w->o->name[i];
		p->model = w->o->model[i];
		snprintf(p->prefix, sizeof(p->prefix), "proj:%s:", p->name);
		for (k = 0; k < MARKER; k++) {
			p->marker[k] = (uint8_t)(128 + rng_below(&g, 128)); /* no text has it */
			snprintf(p->hex + 2 * k, 3, "%02x", p->marker[k]);
		}
	}
}

/* A connection to each model that CLIENT LIST is not to show: it has a name. */
static int ask_models(struct world *w)
{
	static struct word words[] = { { (const uint8_t *)"CLIENT", 6 }, { (const uint8_t *)"SETNAME", 7 }, { (const uint8_t *)"fuzzer", 6 } };
	struct cmd c = { .argc = 3, .argv = words };
	const char *text = NULL;
	unsigned i;

	for (i = 0; i < 2; i++) {
		struct side *s = &w->ask_model[i];

		*s = (struct side){ .name = "model", .path = w->o->model[i], .fd = -1, .want = 1 };
		if (side_connect(s))
			return -1;
		side_add(s, &c);
		if (exchange_sides((struct side *const[]){ s }, 1, &text))
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct iso_options o = { .seconds = 10, .databases = 1 };
	struct world w = { .o = &o, .report = stdout, .ask_store = { .name = "store", .fd = -1 } };
	int rc;

	if (argc == 2 && !strcmp(argv[1], "--exceptions")) {
		exceptions();
		return 0;
	}
	o.seed = (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
	if (options(&o, argc, argv))
		return usage();
	if (missing())
		return 3;
	begin(&w);
	w.ask_store.path = o.store;
	if (side_connect(&w.ask_store))
		return 2;
	if (ask_models(&w))
		return 2;
	rc = iso_run(&w);
	side_close(&w.ask_store);
	side_close(&w.ask_model[0]);
	side_close(&w.ask_model[1]);
	if (!rc && !o.episodes)
		unsent();
	return rc;
}
