/* SPDX-License-Identifier: Apache-2.0
 *
 * purserctl: the operator's tool.  In: words of a command line.  Out: what the agent at the socket
 * answers, for people (aligned, coloured on a terminal) or as JSON, and an exit status that a script
 * can act on.  main.c: options and the table of commands.  connect.c: the agent.  data.c, agent.c:
 * the commands.  feature.c, hold.c: locks, sessions, caches, streams.  check.c: the configuration check.  token.c: tokens.  print.c: tables, colours, replies, JSON.
 */
#ifndef CTL_H
#define CTL_H
#include <hiredis/hiredis.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/un.h>

enum {                  /* exit status */
	CTL_OK = 0,
	CTL_NO = 1,         /* a negative answer: absent, not stored, unhealthy, errors in the file */
	CTL_USAGE = 2,
	CTL_CONNECT = 3,    /* no agent, or it does not answer in time */
	CTL_ERROR = 4,      /* the agent answered with an error */
	CTL_OUTPUT = 5      /* standard output does not take what is written */
};

struct ctl {
	char socket[sizeof ((struct sockaddr_un *)0)->sun_path];
	bool socket_given;
	const char *project;          /* NULL: the one that the agent chooses */
	struct timeval timeout;
	bool json;
	bool raw, no_raw;             /* bytes as they are; as redis-cli shows them to people */
	bool tty, color;              /* standard output is a terminal; and may be coloured */
	const char *config, *ex, *px; /* --config, --ex, --px */
	const char *file, *expires;   /* --file, --expires */
	const char *token_file;       /* --token-file: what is in it is never an argument of a process */
	bool nx, xx, from_stdin, help;
	const char *name;             /* of the subcommand */
	int argc;                     /* words behind it, without options */
	int literal_at;               /* which of them follows --; 0: there was none */
	char **argv;
	redisContext *c;
};

/* ---- connect.c: CTL_OK, or what to exit with, everything said ---- */
int ctl_connect(struct ctl *x);
/* One command; *out is the caller's (freeReplyObject).  An error reply is said and is CTL_ERROR. */
int ctl_ask(struct ctl *x, int argc, const char **argv, const size_t *len, redisReply **out);
int ctl_ask_words(struct ctl *x, redisReply **out, ...) __attribute__((sentinel)); /* const char *..., NULL */
/* The same without a word on standard error: a status of its own. */
int ctl_try(struct ctl *x, redisReply **out, const char *word);
int ctl_fail(struct ctl *x, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- print.c ---- */
struct table { char *cell[1024][8]; size_t rows, cols; };
/* A row of t->cols texts (copied; NULL = ""). */
void table_row(struct table *t, ...);
void table_print(struct table *t, const struct ctl *x); /* and free */
const char *paint(const struct ctl *x, const char *word); /* colour of a state's name, or "" */
const char *unpaint(const struct ctl *x);
int print_json(json_t *j);              /* takes the reference */
json_t *json_text(const void *p, size_t n); /* a string, or {"base64":...} when it is not UTF-8 */
json_t *json_of_reply(const redisReply *r);
json_t *json_of_pairs(const redisReply *r); /* a flat array as an object */
void print_reply(const struct ctl *x, const redisReply *r);
void print_tree(json_t *j); /* for people, nested by indentation; takes the reference */
void print_flat(const struct ctl *x, json_t *object); /* name and value lines, nested names with dots */
void print_bytes_human(char *dst, size_t cap, double bytes);

/* ---- the commands ---- */
int cmd_status(struct ctl *x);
int cmd_whoami(struct ctl *x);
int cmd_health(struct ctl *x);
int cmd_get(struct ctl *x);
int cmd_set(struct ctl *x);
int cmd_del(struct ctl *x);
int cmd_command(struct ctl *x);
int cmd_plugins(struct ctl *x);
int cmd_metrics(struct ctl *x);
int cmd_log_level(struct ctl *x);
int cmd_check(struct ctl *x);
int cmd_reload(struct ctl *x);
int cmd_job(struct ctl *x);
int cmd_token(struct ctl *x);
int cmd_feature(struct ctl *x);
/* ---- http.c: a connection of its own, for one request ---- */
struct buf;
int ctl_open(struct ctl *x, char *token, size_t cap); /* connect.c: x->c, of which the descriptor alone is used */
int ctl_http_send(struct ctl *x, const char *target, json_t *body); /* takes the reference */
int ctl_http_head(struct ctl *x, struct buf *b, int *status);
int ctl_http_more(struct ctl *x, struct buf *b);    /* 1, 0 at the end, -1 */
int ctl_http_problem(struct ctl *x, struct buf *b); /* said; CTL_ERROR */
/* One command: its reply, the caller's. */
int ctl_http_ask(struct ctl *x, json_t *words, json_t **result);
void feature_help(const struct ctl *x);
/* argv runs while the lock is held that words (of LOCK.ACQUIRE) say; its status. */
int ctl_hold(struct ctl *x, json_t *words, char **argv);
int cmd_version(struct ctl *x);
int cmd_help(struct ctl *x);
#endif
