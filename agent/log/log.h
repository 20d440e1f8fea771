/* SPDX-License-Identifier: Apache-2.0
 *
 * log: one line per event on standard error.  JSON for machines (one object a line), a short
 * readable form when the descriptor is a terminal.
 *
 *   log_event(lg, LOG_M_SERVER, LOG_WARN, "server.client.cut", "client cut off",
 *       LOG_UINT("client.id", id), LOG_STR("reason", why));
 *
 * The level check is one relaxed load.  A line is at most LOG_LINE_MAX bytes (longer values are
 * cut and the line says "truncated":true), so that a pipe takes it whole or not at all: before
 * writing the descriptor is asked whether it takes a line now, and if not the line is dropped and
 * counted.  A thread that logs is therefore never held up by a reader that does not read.
 *
 * Repetition: of one (module, event, key) only `burst` lines are written per window; the next line
 * after the window carries "suppressed":N, and log_tick() reports what never resumed.  LOG_DEBUG and
 * LOG_TRACE are not limited: who asks for them wants them.
 *
 * Secrets: a field whose key names one (password, secret, token, authorization, credential) is
 * printed as "***".  That is a net, not a licence: do not hand secrets to the log.
 *
 * Thread-safe.  Strings are borrowed for the call only, except `event`, which must be a literal.
 */
#ifndef LOG_LOG_H
#define LOG_LOG_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LOG_LINE_MAX 4096 /* PIPE_BUF on Linux: a write of so much is atomic */

enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

enum log_module {
#define LOG_MODULE(id, name, doc) LOG_M_##id,
#include "log/modules.def"
#undef LOG_MODULE
	LOG_M_COUNT
};

enum log_format { LOG_AUTO, LOG_JSON, LOG_CONSOLE }; /* AUTO: CONSOLE on a terminal, else JSON */

struct log_state;
/* Owned by main, passed around.  A null pointer is a log that is off. */
struct log {
	_Atomic uint8_t level[LOG_M_COUNT];
	struct log_state *st;
};

struct log_opts { /* zero = the default of each */
	int fd;                        /* borrowed; 0 means 2 (standard error) */
	enum log_format format;
	enum log_level level;          /* of every module; see log_opts_default */
	unsigned burst;                /* 10 lines ... */
	uint64_t window_ns;            /* ... in 10 s, per event and key */
	uint64_t (*mono_ns)(void *);   /* clocks for tests; NULL = the system's */
	uint64_t (*wall_ns)(void *);
	void *clock;
};

struct log_stats { uint64_t written, dropped, suppressed; };

struct log *log_open(const struct log_opts *o); /* NULL: LOG_INFO to standard error; NULL on ENOMEM */
void log_close(struct log *lg);                 /* what is suppressed is reported first */
void log_tick(struct log *lg);                  /* now and then (each second or so), any thread */
void log_stats(struct log *lg, struct log_stats *out);

/* Every line that is written is shown to fn too, on the thread that logs and under the log's lock: it must not log, nor
 * wait.  line.h has struct line_head.  NULL: nobody any more. */
struct line_head;
struct log_field;
void log_tap(struct log *lg, void (*fn)(void *arg, enum log_module m, const struct line_head *h,
    const struct log_field *fields), void *arg);

/* Levels.  Names are the words trace debug info warn error off; modules as in modules.def. */
const char *log_level_name(enum log_level l);
int log_level_of(const char *name);                       /* -1: no such level */
const char *log_module_name(enum log_module m);
const char *log_module_doc(enum log_module m);
int log_module_of(const char *name);                      /* -1: no such module */
void log_set(struct log *lg, int module, enum log_level l); /* module -1: all */
enum log_level log_get(const struct log *lg, enum log_module m);
void log_set_format(struct log *lg, enum log_format f);

/* Typed fields.  Keys are literals, lower case, dots between name spaces. */
enum log_type { LOG_F_NONE, LOG_F_END, LOG_F_STR, LOG_F_INT, LOG_F_UINT, LOG_F_NUM, LOG_F_BOOL,
	LOG_F_HEX, LOG_F_KEY };
struct log_field {
	enum log_type type;
	const char *key;
	union {
		struct { const char *p; size_t n; } s;
		int64_t i;
		uint64_t u;
		double d;
	} v;
};
static inline struct log_field log_str_(const char *k, const char *p, size_t n, enum log_type t)
{
	struct log_field f = { .type = t, .key = k };

	f.v.s.p = p;
	f.v.s.n = n;
	return f;
}
static inline struct log_field log_int_(const char *k, int64_t v)
{
	return (struct log_field){ .type = LOG_F_INT, .key = k, .v.i = v };
}
static inline struct log_field log_uint_(const char *k, uint64_t v, enum log_type t)
{
	return (struct log_field){ .type = t, .key = k, .v.u = v };
}
static inline struct log_field log_num_(const char *k, double v)
{
	return (struct log_field){ .type = LOG_F_NUM, .key = k, .v.d = v };
}
static inline struct log_field log_cstr_(const char *k, const char *s, enum log_type t)
{
	return log_str_(k, s ? s : "", s ? strlen(s) : 0, t);
}
#define LOG_STR(k, s) log_cstr_((k), (s), LOG_F_STR) /* NULL is "" */
#define LOG_BYTES(k, p, n) log_str_((k), (const char *)(p), (n), LOG_F_STR) /* any bytes */
#define LOG_INT(k, v) log_int_((k), (v))
#define LOG_UINT(k, v) log_uint_((k), (v), LOG_F_UINT)
#define LOG_NUM(k, v) log_num_((k), (v))
#define LOG_BOOL(k, v) log_uint_((k), !!(v), LOG_F_BOOL)
#define LOG_TRACE_ID(id16) log_str_("trace_id", (const char *)(id16), 16, LOG_F_HEX)
#define LOG_SPAN_ID(id8) log_str_("span_id", (const char *)(id8), 8, LOG_F_HEX)
/* Not printed: repetition is counted per event and this word (a backend's name, a peer). */
#define LOG_KEY(s) log_cstr_("", (s), LOG_F_KEY)

void log_write(struct log *lg, enum log_module m, enum log_level l, const char *event,
    const char *message, const struct log_field *fields); /* fields end with LOG_F_END */

static inline bool log_on(const struct log *lg, enum log_module m, enum log_level l)
{
	return lg && (uint8_t)l >= atomic_load_explicit(&lg->level[m], memory_order_relaxed);
}

#define log_event(lg, m, l, event, message, ...) \
	do { \
		if (log_on((lg), (m), (l))) { \
			const struct log_field log_f_[] = { { .type = LOG_F_NONE }, ##__VA_ARGS__, \
				{ .type = LOG_F_END } }; \
			log_write((lg), (m), (l), (event), (message), log_f_); \
		} \
	} while (0)
#endif
