/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lg - the load generator of the bench: a single-threaded, closed-loop client for RESP (and
 * memcached's text protocol) that checks every reply and costs about 2 us of CPU for a round trip.
 * Usage below; method and reading of the figures in README.md.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define EXIT_WRONG 1 /* a reply was not the expected one */
#define EXIT_USAGE 2
#define EXIT_PEER 3 /* the server is gone, silent or not understood */

static const char usage_text[] =
	"usage: lg [options] ADDRESS        (unix:/path, /path or HOST:PORT)\n"
	"  -c, --conns N          connections (50)\n"
	"  -P, --pipeline N       requests in one write (1)\n"
	"  -m, --mix OP[=W],...   ping get set mget mset eval publish, with weights (get)\n"
	"  -k, --keys N           number of keys (10000)\n"
	"  -D, --dist D           uniform, seq or zipf[:THETA] (uniform; theta 0.99)\n"
	"  -p, --prefix TEXT      first 4 bytes of each key (key:)\n"
	"  -T, --ttl S            each SET key lives S seconds (for ever)\n"
	"  -d, --value-bytes N    size of values and messages (64)\n"
	"  -M, --multi N          keys of an mget or mset (100)\n"
	"  -s, --seconds S        length of the measured window (1)\n"
	"  -n, --requests N       instead: end after N requests\n"
	"  -w, --warmup S         seconds before the window (0)\n"
	"  -r, --reconnect        a new connection for each batch\n"
	"  -i, --idle N           further connections that only stay open\n"
	"  -S, --subscribers N    connections that hear each publish (with -m publish)\n"
	"  -e, --setup COMMAND    inline RESP command sent first on each connection, e.g. 'HELLO 3'\n"
	"  -C, --memcache         speak memcached's text protocol\n"
	"  -V, --verify HOW       value (default: each value belongs to its key) or shape\n"
	"  -W, --watch NAME=PID   also report the CPU of this process (up to 8 times)\n"
	"  -x, --seed N           of keys and mix (1)\n"
	"  -t, --stall S          give up after S seconds without a reply (10)\n"
	"      --fill             write each key once (sets -m -D -n -P -c)\n"
	"Output: key=value lines; times in microseconds. Exit status: 0, 1 when a reply was wrong,\n"
	"2 for a wrong option, 3 when the server is gone or silent.\n";

static _Noreturn void usage(const char *why, const char *what)
{
	if (why)
		fprintf(stderr, "lg: %s: %s\n", why, what);
	fputs(usage_text, why ? stderr : stdout);
	exit(why ? EXIT_USAGE : EXIT_SUCCESS);
}

static uint64_t parse_count(const char *text, uint64_t min, uint64_t max)
{
	char *end;

	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || n < min || n > max)
		usage("not a number that is allowed here", text);
	return n;
}

static double parse_seconds(const char *text, double min)
{
	char *end;
	double s = strtod(text, &end);

	if (end == text || *end || !(s >= min && s <= 86400))
		usage("not a time in seconds", text);
	return s;
}

static void parse_mix(const char *text, struct load_options *o)
{
	memset(o->weight, 0, sizeof(o->weight));
	for (const char *p = text; *p;) {
		size_t item = strcspn(p, ","), name = strcspn(p, "=,");
		enum wire_op op = wire_op_find(p, name);
		char weight[16] = "1";
		if (op == OP_COUNT || item - name > sizeof(weight))
			usage("unknown operation in the mix", text);
		if (name < item)
			snprintf(weight, sizeof(weight), "%.*s", (int)(item - name - 1), p + name + 1);
		o->weight[op] = (unsigned)parse_count(weight, 1, 1000000);
		p += item + (p[item] == ',');
	}
}

static void parse_dist(const char *text, struct load_options *o)
{
	if (strcmp(text, "uniform") == 0) {
		o->dist = KEYS_UNIFORM;
	} else if (strcmp(text, "seq") == 0) {
		o->dist = KEYS_SEQ;
	} else if (strcmp(text, "zipf") == 0) {
		o->dist = KEYS_ZIPF;
	} else if (strncmp(text, "zipf:", 5) == 0) {
		o->dist = KEYS_ZIPF;
		o->theta = parse_seconds(text + 5, 0.01);
	} else {
		usage("unknown distribution", text);
	}
}

static void parse_verify(const char *text, struct load_options *o)
{
	o->check_values = strcmp(text, "value") == 0;
	if (!o->check_values && strcmp(text, "shape") != 0)
		usage("verify what?", text);
}

static void parse_prefix(const char *text, struct load_options *o)
{
	if (strlen(text) != sizeof(o->prefix) || strcspn(text, " \r\n") != sizeof(o->prefix))
		usage("a prefix has 4 bytes", text);
	memcpy(o->prefix, text, sizeof(o->prefix));
}

static void add_watch(const char *text, struct load_options *o)
{
	if (o->watches == WATCH_MAX || watch_parse(text, &o->watch[o->watches]) < 0)
		usage("not NAME=PID, or too many", text);
	o->watches++;
}

static void set_fill(struct load_options *o)
{
	parse_mix("set", o);
	o->dist = KEYS_SEQ;
	o->pipeline = 64;
	o->conns = 4;
	o->requests = UINT64_MAX; /* the number of keys, once that is known */
}

static const struct option long_options[] = {
	{"conns", 1, NULL, 'c'},       {"pipeline", 1, NULL, 'P'},    {"mix", 1, NULL, 'm'},
	{"keys", 1, NULL, 'k'},	       {"dist", 1, NULL, 'D'},	      {"value-bytes", 1, NULL, 'd'},
	{"multi", 1, NULL, 'M'},       {"seconds", 1, NULL, 's'},     {"requests", 1, NULL, 'n'},
	{"warmup", 1, NULL, 'w'},      {"reconnect", 0, NULL, 'r'},   {"idle", 1, NULL, 'i'},
	{"subscribers", 1, NULL, 'S'}, {"setup", 1, NULL, 'e'},	      {"memcache", 0, NULL, 'C'},
	{"verify", 1, NULL, 'V'},      {"watch", 1, NULL, 'W'},	      {"seed", 1, NULL, 'x'},
	{"prefix", 1, NULL, 'p'},      {"ttl", 1, NULL, 'T'},
	{"stall", 1, NULL, 't'},       {"fill", 0, NULL, 'F'},	      {"help", 0, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static void set_option(int opt, const char *arg, struct load_options *o)
{
	switch (opt) {
	case 'c': o->conns = (unsigned)parse_count(arg, 1, 100000); break;
	case 'P': o->pipeline = (unsigned)parse_count(arg, 1, 100000); break;
	case 'm': parse_mix(arg, o); break;
	case 'k': o->keys = (uint32_t)parse_count(arg, 1, UINT32_MAX); break;
	case 'D': parse_dist(arg, o); break;
	case 'p': parse_prefix(arg, o); break;
	case 'T': o->ttl = (unsigned)parse_count(arg, 1, 1u << 30); break;
	case 'd': o->value_bytes = parse_count(arg, 1, 512u << 20); break;
	case 'M': o->multi = (unsigned)parse_count(arg, 1, 10000); break;
	case 's': o->seconds = parse_seconds(arg, 0.01); break;
	case 'n': o->requests = parse_count(arg, 1, UINT64_MAX - 1); break;
	case 'w': o->warmup = parse_seconds(arg, 0); break;
	case 'r': o->reconnect = true; break;
	case 'i': o->idle = (unsigned)parse_count(arg, 0, 1000000); break;
	case 'S': o->subscribers = (unsigned)parse_count(arg, 1, 100000); break;
	case 'e': o->setup = arg; break;
	case 'C': o->memcache = true; break;
	case 'V': parse_verify(arg, o); break;
	case 'W': add_watch(arg, o); break;
	case 'x': o->seed = parse_count(arg, 0, UINT64_MAX); break;
	case 't': o->stall = (unsigned)parse_count(arg, 1, 3600); break;
	case 'F': set_fill(o); break;
	case 'h': usage(NULL, NULL);
	default: usage("unknown option", "see below");
	}
}

static void check_options(struct load_options *o)
{
	bool publish = o->weight[OP_PUBLISH] > 0;

	for (unsigned op = 0; publish && op < OP_PUBLISH; op++)
		if (o->weight[op])
			usage("publish cannot be mixed", wire_op_name((enum wire_op)op));
	if (publish && (o->memcache || o->reconnect || o->value_bytes < WIRE_STAMP))
		usage("publish needs RESP, lasting connections and messages of 24 bytes or more", "-m");
	if (!publish && o->subscribers)
		usage("subscribers need", "-m publish");
	if (o->setup && (o->reconnect || o->memcache))
		usage("setup needs RESP and lasting connections", o->setup);
	if (o->memcache && (o->weight[OP_MSET] || o->weight[OP_EVAL]))
		usage("memcached has no", o->weight[OP_MSET] ? "mset" : "eval");
	if (!o->weight[OP_MGET] && !o->weight[OP_MSET])
		o->multi = 1;
	if (o->requests == UINT64_MAX)
		o->requests = o->keys;
	double bytes = (double)o->pipeline * o->multi * (double)(o->value_bytes + 64);
	if (bytes > 0x1p30)
		usage("more than 1 GiB in one batch", "-P, -M, -d");
}

static void parse_options(int argc, char **argv, struct load_options *o)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "c:P:m:k:D:p:T:d:M:s:n:w:ri:S:e:CV:W:x:t:h", long_options,
				  NULL)) != -1)
		set_option(opt, optarg, o);
	if (optind + 1 != argc)
		usage("one address is needed", argc > optind ? argv[optind + 1] : "none given");
	if (net_parse(argv[optind], &o->addr) < 0)
		usage("not an address", argv[optind]);
	check_options(o);
}

static void print_latency(const char *name, const struct hist *h)
{
	if (h->count == 0)
		return;
	printf("%s_mean_us=%.2f\n", name, (double)h->sum / (double)h->count / 1e3);
	printf("%s_p50_us=%.2f\n", name, (double)hist_quantile(h, 0.5) / 1e3);
	printf("%s_p90_us=%.2f\n", name, (double)hist_quantile(h, 0.9) / 1e3);
	printf("%s_p99_us=%.2f\n", name, (double)hist_quantile(h, 0.99) / 1e3);
	printf("%s_p999_us=%.2f\n", name, (double)hist_quantile(h, 0.999) / 1e3);
	printf("%s_max_us=%.2f\n", name, (double)h->max / 1e3);
}

static double per(uint64_t from, uint64_t to, uint64_t count)
{
	return count ? (double)(to - from) / 1e3 / (double)count : 0;
}

static void print_result(const struct load_options *o, const struct load_result *r)
{
	const struct watch_mark *a = &r->begin, *b = &r->end;
	double seconds = (double)(b->now_ns - a->now_ns) / 1e9;
	uint64_t ours = b->own_ns - a->own_ns, busy = b->host_ns - a->host_ns;

	printf("ops=%llu\nseconds=%.4f\nops_per_s=%.0f\n", (unsigned long long)r->ops, seconds,
	       (double)r->ops / seconds);
	printf("batches=%llu\n", (unsigned long long)r->batches);
	printf("client_us_per_op=%.4f\n", per(a->own_ns, b->own_ns, r->ops));
	for (unsigned i = 0; i < o->watches; i++) {
		ours += b->cpu_ns[i] - a->cpu_ns[i];
		printf("%s_us_per_op=%.4f\n", o->watch[i].name, per(a->cpu_ns[i], b->cpu_ns[i], r->ops));
		printf("%s_busy=%.3f\n", o->watch[i].name,
		       (double)(b->cpu_ns[i] - a->cpu_ns[i]) / 1e9 / seconds);
	}
	print_latency("latency", &r->latency);
	if (o->subscribers) {
		printf("deliveries=%llu\n", (unsigned long long)r->deliveries);
		print_latency("delivery", &r->delivery);
	}
	printf("nils=%llu\nerrors=%llu\nmismatches=%llu\n", (unsigned long long)r->nils,
	       (unsigned long long)r->errors, (unsigned long long)r->mismatches);
	printf("connect_retries=%llu\n", (unsigned long long)r->connect_retries);
	printf("others_busy=%.3f\n", busy > ours ? (double)(busy - ours) / 1e9 / seconds : 0.0);
	printf("stolen=%.3f\n", (double)(b->stolen_ns - a->stolen_ns) / 1e9 / seconds);
}

int main(int argc, char **argv)
{
	struct load_options o = {.conns = 50, .pipeline = 1, .multi = 100, .weight[OP_GET] = 1,
		.keys = 10000, .prefix = "key:", .theta = 0.99, .value_bytes = 64, .seed = 1,
		.seconds = 1, .stall = 10, .check_values = true};
	static struct load_result r;

	parse_options(argc, argv, &o);
	signal(SIGPIPE, SIG_IGN);
	net_raise_nofile();
	if (load_run(&o, &r) < 0)
		return r.errors || r.mismatches ? EXIT_WRONG : EXIT_PEER;
	print_result(&o, &r);
	if (fflush(stdout) != 0)
		return EXIT_PEER;
	return r.nils || r.errors || r.mismatches ? EXIT_WRONG : EXIT_SUCCESS;
}
