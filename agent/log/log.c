/* SPDX-License-Identifier: Apache-2.0 */
/* log: levels, repetition, and the one write. */
#include <config.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "log/line.h"
#include "log/log.h"

#define SLOTS 256 /* (event, key) pairs watched for repetition at once */

struct slot {
	uint64_t hash;      /* 0 = free */
	uint64_t since_ns;  /* window began */
	uint64_t last_ns;   /* seen last: the slot seen longest ago is reused */
	uint32_t lines;     /* written in this window */
	uint32_t suppressed;
	uint8_t module;
	const char *event;
};

struct log_state {
	pthread_mutex_t lock; /* slots and the descriptor; held for one non-blocking write at most */
	int fd;
	bool socket;
	_Atomic int format;
	unsigned burst;
	uint64_t window_ns;
	uint64_t (*mono_ns)(void *);
	uint64_t (*wall_ns)(void *);
	void *clock;
	void (*tap)(void *arg, enum log_module m, const struct line_head *h, const struct log_field *fields);
	void *tap_arg;
	struct slot slots[SLOTS];
	struct log_stats stats;
};

static const char *const level_names[] = { "trace", "debug", "info", "warn", "error", "off" };
static const struct { const char *name, *doc; } modules[] = {
#define LOG_MODULE(id, name, doc) { name, doc },
#include "log/modules.def"
#undef LOG_MODULE
};

static uint64_t sys_clock(clockid_t c)
{
	struct timespec ts;

	clock_gettime(c, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static uint64_t sys_mono(void *arg)
{
	(void)arg;
	return sys_clock(CLOCK_MONOTONIC);
}

static uint64_t sys_wall(void *arg)
{
	(void)arg;
	return sys_clock(CLOCK_REALTIME);
}

struct log *log_open(const struct log_opts *o)
{
	static const struct log_opts def = { .level = LOG_INFO };
	struct log *lg = calloc(1, sizeof *lg);
	struct log_state *st = calloc(1, sizeof *st);
	struct stat sb;

	if (!o)
		o = &def;
	if (!lg || !st || pthread_mutex_init(&st->lock, NULL)) {
		free(lg);
		free(st);
		return NULL;
	}
	lg->st = st;
	st->fd = o->fd ? o->fd : STDERR_FILENO;
	st->socket = fstat(st->fd, &sb) == 0 && S_ISSOCK(sb.st_mode);
	st->burst = o->burst ? o->burst : 10;
	st->window_ns = o->window_ns ? o->window_ns : UINT64_C(10000000000);
	st->mono_ns = o->mono_ns ? o->mono_ns : sys_mono;
	st->wall_ns = o->wall_ns ? o->wall_ns : sys_wall;
	st->clock = o->clock;
	log_set_format(lg, o->format);
	log_set(lg, -1, o->level);
	return lg;
}

void log_close(struct log *lg)
{
	if (!lg)
		return;
	lg->st->window_ns = 0;
	log_tick(lg);
	pthread_mutex_destroy(&lg->st->lock);
	free(lg->st);
	free(lg);
}

const char *log_level_name(enum log_level l)
{
	return l <= LOG_OFF ? level_names[l] : "?";
}

int log_level_of(const char *name)
{
	for (int i = 0; i <= LOG_OFF; i++)
		if (strcmp(name, level_names[i]) == 0)
			return i;
	return -1;
}

const char *log_module_name(enum log_module m)
{
	return m < LOG_M_COUNT ? modules[m].name : "?";
}

const char *log_module_doc(enum log_module m)
{
	return m < LOG_M_COUNT ? modules[m].doc : "";
}

int log_module_of(const char *name)
{
	for (int i = 0; i < LOG_M_COUNT; i++)
		if (strcmp(name, modules[i].name) == 0)
			return i;
	return -1;
}

void log_set(struct log *lg, int module, enum log_level l)
{
	if (!lg)
		return;
	for (int i = 0; i < LOG_M_COUNT; i++)
		if (module < 0 || module == i)
			atomic_store_explicit(&lg->level[i], (uint8_t)l, memory_order_relaxed);
}

enum log_level log_get(const struct log *lg, enum log_module m)
{
	if (!lg || m >= LOG_M_COUNT)
		return LOG_OFF;
	return (enum log_level)atomic_load_explicit(&lg->level[m], memory_order_relaxed);
}

void log_set_format(struct log *lg, enum log_format f)
{
	if (!lg)
		return;
	if (f == LOG_AUTO)
		f = isatty(lg->st->fd) ? LOG_CONSOLE : LOG_JSON;
	atomic_store_explicit(&lg->st->format, (int)f, memory_order_relaxed);
}

static uint64_t fnv(uint64_t h, const void *p, size_t n)
{
	const unsigned char *s = p;

	for (size_t i = 0; i < n; i++)
		h = (h ^ s[i]) * UINT64_C(0x100000001b3);
	return h;
}

static uint64_t site_hash(enum log_module m, const char *event, const struct log_field *f)
{
	uint64_t h = fnv(UINT64_C(0xcbf29ce484222325) + (uint64_t)m, event, strlen(event) + 1);

	for (; f->type != LOG_F_END; f++)
		if (f->type == LOG_F_KEY)
			h = fnv(h, f->v.s.p, f->v.s.n);
	return h ? h : 1;
}

void log_tap(struct log *lg, void (*fn)(void *arg, enum log_module m, const struct line_head *h,
    const struct log_field *fields), void *arg)
{
	if (!lg)
		return;
	pthread_mutex_lock(&lg->st->lock);
	lg->st->tap = fn;
	lg->st->tap_arg = arg;
	pthread_mutex_unlock(&lg->st->lock);
}

static void emit(struct log_state *st, enum log_module m, const struct line_head *hd, const struct log_field *f)
{
	char line[LOG_LINE_MAX];
	size_t n;
	ssize_t r;
	struct pollfd pfd = { .fd = st->fd, .events = POLLOUT };
	int saved = errno;

	n = atomic_load_explicit(&st->format, memory_order_relaxed) == LOG_CONSOLE
	    ? line_console(line, sizeof line, hd, f)
	    : line_json(line, sizeof line, hd, f);
	/* A pipe that polls writable takes LOG_LINE_MAX bytes; the lock keeps others from taking them. */
	if (poll(&pfd, 1, 0) != 1 || !(pfd.revents & POLLOUT))
		r = -1;
	else if (st->socket)
		r = send(st->fd, line, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		r = write(st->fd, line, n);
	if (r == (ssize_t)n)
		st->stats.written++;
	else
		st->stats.dropped++;
	if (st->tap)
		st->tap(st->tap_arg, m, hd, f);
	errno = saved;
}

/* A slot whose window is over and that owes a count says so. */
static void settle(struct log_state *st, struct slot *s)
{
	struct log_field f[] = { LOG_STR("suppressed_event", s->event),
		LOG_UINT("suppressed", s->suppressed), { .type = LOG_F_END } };
	struct line_head hd = { st->wall_ns(st->clock), LOG_WARN, log_module_name(s->module),
		"log.suppressed", "an event was repeated and not written each time", 0 };

	if (s->suppressed)
		emit(st, (enum log_module)s->module, &hd, f);
	s->suppressed = 0;
}

/* The slot of a hash: its own, a free one, or the one seen longest ago among eight. */
static struct slot *slot_of(struct log_state *st, uint64_t h)
{
	struct slot *old = NULL;

	for (unsigned i = 0; i < 8; i++) {
		struct slot *s = &st->slots[(h + i) % SLOTS];

		if (s->hash == h)
			return s;
		if (!old || (old->hash && (!s->hash || s->last_ns < old->last_ns)))
			old = s;
	}
	settle(st, old);
	memset(old, 0, sizeof *old);
	return old;
}

/* May this line be written?  How many before it were not goes to *owed. */
static bool admit(struct log_state *st, uint64_t h, enum log_module m, const char *event,
    uint32_t *owed)
{
	uint64_t now = st->mono_ns(st->clock);
	struct slot *s = slot_of(st, h);

	if (!s->hash || now - s->since_ns >= st->window_ns) {
		s->since_ns = now;
		s->lines = 0;
	}
	s->hash = h;
	s->last_ns = now;
	s->module = (uint8_t)m;
	s->event = event;
	if (s->lines >= st->burst) {
		s->suppressed++;
		st->stats.suppressed++;
		return false;
	}
	s->lines++;
	*owed = s->suppressed;
	s->suppressed = 0;
	return true;
}

void log_write(struct log *lg, enum log_module m, enum log_level l, const char *event,
    const char *message, const struct log_field *fields)
{
	struct log_state *st = lg->st;
	struct line_head hd = { 0, l, log_module_name(m), event, message, 0 };
	uint64_t h = l > LOG_DEBUG ? site_hash(m, event, fields) : 0;

	pthread_mutex_lock(&st->lock);
	if (!h || admit(st, h, m, event, &hd.suppressed)) {
		hd.wall_ns = st->wall_ns(st->clock);
		emit(st, m, &hd, fields);
	}
	pthread_mutex_unlock(&st->lock);
}

void log_tick(struct log *lg)
{
	struct log_state *st = lg ? lg->st : NULL;
	uint64_t now;

	if (!st)
		return;
	pthread_mutex_lock(&st->lock);
	now = st->mono_ns(st->clock);
	for (size_t i = 0; i < SLOTS; i++)
		if (st->slots[i].suppressed && now - st->slots[i].since_ns >= st->window_ns)
			settle(st, &st->slots[i]);
	pthread_mutex_unlock(&st->lock);
}

void log_stats(struct log *lg, struct log_stats *out)
{
	memset(out, 0, sizeof *out);
	if (!lg)
		return;
	pthread_mutex_lock(&lg->st->lock);
	*out = lg->st->stats;
	pthread_mutex_unlock(&lg->st->lock);
}
