/* SPDX-License-Identifier: Apache-2.0
 *
 * loop: the epoll loop behind loop.h.  Three structures: the kernel's ready list (copied batch by
 * batch into `events`), a 4-ary heap of timers, and a mailbox, a stack that other threads push to
 * and that the loop takes whole and turns round.
 */
#include <config.h>
#include "loop/loop.h"

#include "base/sys.h"
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 256 /* ready descriptors taken from the kernel at once */
#define ARITY 4
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

struct entry { /* of the heap: what is compared lies in the array itself */
	uint64_t due_ns;
	uint64_t seq; /* when it was set: keeps the order of equal times */
	struct loop_timer *timer;
};

struct loop {
	struct loop_time time; /* first */
	int epfd, wakefd;
	int alarmfd;      /* a timerfd: sleeping with a time-out would set a timer for each sleep */
	uint64_t alarm_ns; /* when it goes off; 0: it is not set */
	struct loop_clock clock;
	uint64_t wall_ms;
	bool wall_known, again;
	bool company;     /* the last look for stragglers found some */
	_Atomic uint64_t turns;

	struct epoll_event events[EVENTS_MAX];
	int at, count; /* the event that is being told, and how many there are */
	size_t nwatched;

	struct entry *heap;
	size_t ntimers, cap;
	uint64_t seq;

	struct loop_hook *hooks, **hooks_end, *told;

	_Atomic(purser_job *) mail;
	atomic_bool asleep, stop;
};

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t real_mono_ns(void *arg)
{
	struct timespec ts;

	(void)arg;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t real_wall_ms(void *arg)
{
	struct timespec ts;

	(void)arg;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / NS_PER_MS;
}

static void loop_read_clock(struct loop *l)
{
	l->time.now_ns = l->clock.mono_ns(l->clock.arg);
	l->wall_known = false;
}

uint64_t loop_wall_ms(struct loop *l)
{
	if (!l->wall_known) {
		l->wall_ms = l->clock.wall_ms(l->clock.arg);
		l->wall_known = true;
	}
	return l->wall_ms;
}

uint64_t loop_turns(const struct loop *l)
{
	return atomic_load_explicit(&l->turns, memory_order_relaxed);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* A descriptor that only ends a sleep: data.ptr NULL, or the alarm's time. */
static int watch_waker(struct loop *l, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };

	if (fd == l->alarmfd)
		ev.data.ptr = &l->alarm_ns; /* it is known when it has gone off */

	return fd < 0 ? -1 : epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev);
}

static void close_all(const struct loop *l)
{
	const int fds[] = { l->epfd, l->wakefd, l->alarmfd };

	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

struct loop *loop_new(const struct loop_clock *clock)
{
	static const struct loop_clock real = { real_mono_ns, real_wall_ms, NULL };
	struct loop *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return NULL;
	l->hooks_end = &l->hooks;
	l->clock = clock ? *clock : real;
	l->alarmfd = -1;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	l->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!clock) /* the kernel's timers know no other */
		l->alarmfd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (l->epfd >= 0 && watch_waker(l, l->wakefd) == 0 &&
	    (clock || watch_waker(l, l->alarmfd) == 0)) {
		loop_read_clock(l);
		return l;
	}
	err = errno;
	close_all(l);
	free(l);
	errno = err;
	return NULL;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	assert(l->nwatched == 0);
	close_all(l);
	free(l->heap);
	free(l);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

_Static_assert((int)PURSER_IO_IN == (int)EPOLLIN && (int)PURSER_IO_OUT == (int)EPOLLOUT &&
    (int)PURSER_IO_HUP == (int)EPOLLHUP, "the public bits are the kernel's");

int loop_watch(struct loop *l, struct loop_io *io, int fd, uint32_t events)
{
	struct epoll_event ev = { .events =
					  (events & (EPOLLIN | EPOLLOUT)) | EPOLLRDHUP | EPOLLET };
	bool fresh;

	if (io->watched && io->fd != fd)
		loop_unwatch(l, io);
	fresh = io->watched == 0;
	ev.data.ptr = io;
	if (epoll_ctl(l->epfd, fresh ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &ev) < 0)
		return -errno;
	l->nwatched += fresh;
	io->fd = fd;
	io->watched = events | PURSER_IO_HUP;
	return 0;
}

void loop_unwatch(struct loop *l, struct loop_io *io)
{
	int i;

	if (!io->watched)
		return;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, io->fd, NULL);
	for (i = l->at + 1; i < l->count; i++)
		if (l->events[i].data.ptr == io)
			l->events[i].data.ptr = NULL;
	io->watched = 0;
	io->fd = -1;
	l->nwatched--;
}

/* Tell the batch; the number of callbacks made. */
static int loop_tell(struct loop *l, int count)
{
	int told = 0;

	l->count = count;
	for (l->at = 0; l->at < l->count; l->at++) {
		struct loop_io *io = l->events[l->at].data.ptr;
		uint32_t ev = l->events[l->at].events;

		if (!io)
			continue;
		if ((void *)io == &l->alarm_ns) {
			/* Perhaps while stragglers are gathered, with a time of the turn before the alarm's: then
			 * nothing fires yet, and the next sleep needs it again. */
			l->alarm_ns = 0;
			continue;
		}
		if (ev & (EPOLLRDHUP | EPOLLERR))
			ev |= EPOLLHUP;
		told++;
		io->fn(io, ev & (EPOLLIN | EPOLLOUT | EPOLLHUP));
	}
	l->count = 0;
	return told;
}

/* ---- timers ---------------------------------------------------------------------------------- */

static bool entry_less(const struct entry *a, const struct entry *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->seq < b->seq;
}

static void heap_put(struct loop *l, size_t at, struct entry e)
{
	l->heap[at] = e;
	e.timer->pos = (uint32_t)at + 1;
}

static void heap_up(struct loop *l, size_t at, struct entry e)
{
	while (at > 0) {
		size_t parent = (at - 1) / ARITY;

		if (!entry_less(&e, &l->heap[parent]))
			break;
		heap_put(l, at, l->heap[parent]);
		at = parent;
	}
	heap_put(l, at, e);
}

static void heap_down(struct loop *l, size_t at, struct entry e)
{
	for (;;) {
		size_t child = at * ARITY + 1, end = child + ARITY, best = child;

		if (child >= l->ntimers)
			break;
		if (end > l->ntimers)
			end = l->ntimers;
		while (++child < end)
			if (entry_less(&l->heap[child], &l->heap[best]))
				best = child;
		if (!entry_less(&l->heap[best], &e))
			break;
		heap_put(l, at, l->heap[best]);
		at = best;
	}
	heap_put(l, at, e);
}

/* Put e where an entry was that is gone. */
static void heap_fill(struct loop *l, size_t at, struct entry e)
{
	if (at > 0 && entry_less(&e, &l->heap[(at - 1) / ARITY]))
		heap_up(l, at, e);
	else
		heap_down(l, at, e);
}

static int heap_grow(struct loop *l)
{
	size_t cap = l->cap ? l->cap * 2 : 64;
	struct entry *heap;

	if (cap > UINT32_MAX)
		return -ENOMEM;
	heap = realloc(l->heap, cap * sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	l->heap = heap;
	l->cap = cap;
	return 0;
}

int loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t due_ns)
{
	/* Never before now: so whatever was due earlier comes first, and nobody can be starved. */
	struct entry e = { due_ns > l->time.now_ns ? due_ns : l->time.now_ns, l->seq++, t };

	t->due_ns = due_ns;
	if (t->pos) {
		heap_fill(l, t->pos - 1, e);
		return 0;
	}
	if (l->ntimers == l->cap && heap_grow(l) < 0)
		return -ENOMEM;
	heap_up(l, l->ntimers++, e);
	return 0;
}

void loop_timer_stop(struct loop *l, struct loop_timer *t)
{
	size_t at = t->pos - 1;

	if (!t->pos)
		return;
	t->pos = 0;
	if (at != --l->ntimers)
		heap_fill(l, at, l->heap[l->ntimers]);
}

static void loop_fire(struct loop *l)
{
	uint64_t limit = l->seq; /* what is set from here on waits for the next turn */

	if (l->alarm_ns <= l->time.now_ns)
		l->alarm_ns = 0; /* it has gone off, or it may */
	while (l->ntimers && l->heap[0].due_ns <= l->time.now_ns && l->heap[0].seq < limit) {
		struct loop_timer *t = l->heap[0].timer;

		loop_timer_stop(l, t);
		t->fn(t);
	}
}

/* ---- mailbox --------------------------------------------------------------------------------- */

static void loop_wake(struct loop *l)
{
	static const uint64_t one = 1;
	ssize_t n;

	/* The counter is never read: with EPOLLET each write is an event of its own. */
	if (atomic_load(&l->asleep) && atomic_exchange(&l->asleep, false)) {
		do
			n = write(l->wakefd, &one, sizeof(one));
		while (n < 0 && errno == EINTR);
	}
}

void loop_post(struct loop *l, purser_job *job)
{
	purser_job *old = atomic_load_explicit(&l->mail, memory_order_relaxed);

	do
		job->next = old;
	while (!atomic_compare_exchange_weak(&l->mail, &old, job));
	loop_wake(l);
}

static void loop_jobs(struct loop *l)
{
	purser_job *job, *list = NULL;

	if (!atomic_load_explicit(&l->mail, memory_order_relaxed))
		return;
	job = atomic_exchange_explicit(&l->mail, NULL, memory_order_acquire);
	while (job) { /* last in first out, turned round */
		purser_job *next = job->next;

		job->next = list;
		list = job;
		job = next;
	}
	while (list) {
		job = list;
		list = job->next;
		job->fn(job->arg);
	}
}

void loop_stop(struct loop *l)
{
	atomic_store(&l->stop, true);
	loop_wake(l);
}

/* ---- turns ----------------------------------------------------------------------------------- */

void loop_hook_add(struct loop *l, struct loop_hook *h)
{
	h->next = NULL;
	*l->hooks_end = h;
	l->hooks_end = &h->next;
}

void loop_told_add(struct loop *l, struct loop_hook *h)
{
	h->next = l->told;
	l->told = h;
}

void loop_again(struct loop *l)
{
	l->again = true;
}

/* The alarm goes off at due_ns at the latest.  It is left where it is if it goes off earlier: timers are
 * set and stopped more often than they fire. */
static bool loop_alarm(struct loop *l, uint64_t due_ns)
{
	struct itimerspec at = { .it_value = { (time_t)(due_ns / NS_PER_S), (long)(due_ns % NS_PER_S) } };

	if (l->alarmfd < 0)
		return false;
	if (l->alarm_ns && l->alarm_ns <= due_ns)
		return true;
	if (timerfd_settime(l->alarmfd, TFD_TIMER_ABSTIME, &at, NULL))
		return false;
	l->alarm_ns = due_ns;
	return true;
}

/* How long this turn may wait; -1 = until something happens. */
static int64_t loop_patience(struct loop *l, int64_t max_wait_ns)
{
	uint64_t now, due;

	if (max_wait_ns == 0 || l->again)
		return 0;
	if (!l->ntimers)
		return max_wait_ns;
	due = l->heap[0].due_ns;
	if (due <= l->time.now_ns)
		return 0;
	if (max_wait_ns < 0 && loop_alarm(l, due))
		return -1;
	now = l->clock.mono_ns(l->clock.arg); /* the turn's own time may be long past */
	if (due <= now)
		return 0;
	if (max_wait_ns >= 0 && (uint64_t)max_wait_ns < due - now)
		return max_wait_ns;
	return due - now > INT64_MAX ? INT64_MAX : (int64_t)(due - now);
}

static int loop_epoll(struct loop *l, int64_t wait_ns)
{
	int64_t ms = wait_ns < 0 ? -1 : (int64_t)(((uint64_t)wait_ns + NS_PER_MS - 1) / NS_PER_MS);

	if (ms > INT_MAX)
		ms = INT_MAX;
#if SYS_DIRECT && defined(SYS_epoll_pwait) /* see base/sys.h */
	return (int)syscall(SYS_epoll_pwait, l->epfd, l->events, EVENTS_MAX, (int)ms, NULL, 0);
#else
	return epoll_wait(l->epfd, l->events, EVENTS_MAX, (int)ms);
#endif
}

/* What became ready meanwhile shares the flush that comes.  Who is alone pays nothing for it. */
static void loop_stragglers(struct loop *l, int before)
{
	int n;

	if (before == 1 && !l->company)
		return;
	n = loop_epoll(l, 0);
	l->company = n > 0;
	if (n > 0)
		loop_tell(l, n);
}

int loop_turn(struct loop *l, int64_t max_wait_ns)
{
	int64_t wait_ns = loop_patience(l, max_wait_ns);
	struct loop_hook *h;
	int n;

	if (wait_ns != 0) {
		/* From here on posters write the eventfd; one that came just before is seen by the
		 * check. */
		atomic_store(&l->asleep, true);
		if (atomic_load(&l->mail) || atomic_load(&l->stop))
			wait_ns = 0;
	}
	n = loop_epoll(l, wait_ns);
	atomic_store_explicit(&l->asleep, false, memory_order_relaxed);
	if (n < 0 && errno != EINTR)
		return -errno;
	loop_read_clock(l);
	if (n > 0 && loop_tell(l, n) > 0) {
		loop_stragglers(l, n);
		for (h = l->told; h; h = h->next)
			h->fn(h);
	}
	loop_jobs(l);
	loop_fire(l);
	l->again = false; /* what was asked for so far, the hooks see to now */
	for (h = l->hooks; h; h = h->next)
		h->fn(h);
	atomic_fetch_add_explicit(&l->turns, 1, memory_order_relaxed);
	return 0;
}

int loop_run(struct loop *l)
{
	int rc = 0;

	while (rc == 0 && !atomic_load_explicit(&l->stop, memory_order_acquire))
		rc = loop_turn(l, -1);
	atomic_store(&l->stop, false);
	return rc;
}
