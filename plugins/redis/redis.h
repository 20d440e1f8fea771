/* SPDX-License-Identifier: Apache-2.0
 *
 * redis: the plugin that passes calls on to a Redis server.  What comes in: calls whose bytes the
 * host encodes into our write buffers.  What goes out: the replies' bytes, scanned for their length
 * and never parsed into objects.
 *
 *   redis.c     what the plugin declares; the callbacks of the contract
 *   settings.c  one instance: its settings, its password
 *   url.c       redis://, rediss:// and unix://
 *   lane.c      lanes: which link serves a SHARED call; connecting, back-off, being down
 *   pool.c      links of one call or one session: EXCLUSIVE and PINNED
 *   keep.c      what is kept ready, what is too old, whether idle links live
 *   unblock.c   the store is told to let go of a blocked call
 *   link.c      one connection: connect, up, lost, closed
 *   tls.c       TLS on a connection; rotate.c: what a reload reads anew
 *   prep.c      what may block before connecting, on another thread: names, the password file
 *   hello.c     the handshake
 *   cred.c      users other than our own, for calls that say so
 *   wire.c      calls out: encode, write
 *   reply.c     replies in: read, scan, hand over
 *   push.c      subscriptions, on a connection of their own
 *   track.c     which keys have changed, on another
 *
 * A LANE is what calls can share: one database, one protocol version, one credential.  It has one
 * LINK in normal times; while a link is caught in a large reply or request, or behind a client that
 * does not read, a further one serves everybody who has nothing in flight on it.
 * Everything but struct instance belongs to one context, that is, to one thread.
 */
#ifndef REDIS_H
#define REDIS_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <purser/plugin.h>
#include <purser/resp.h>

#define WINDOW_CALLS 16384u        /* calls on one link */
#define WINDOW_BYTES (256u << 10)  /* unsent bytes of one link at which it takes no further call */
#define OUT_MAX (512u << 10)       /* unsent bytes of one link; a larger request goes in pieces */
#define OUT_KEEP (64u << 10)       /* write buffer that an idle link keeps */
#define READ_MAX (64u << 10)       /* one recv */
#define READ_TURN (1u << 20)       /* bytes of one link in one turn */
#define LARGE_REPLY (256u << 10)   /* bytes still to come, or already come */
#define SCRATCH (READ_MAX + PURSER_RESP_LINE_MAX + 4096u)
#define LANE_LINKS 16u             /* links of one lane */
#define EXTRA_IDLE (60 * NS_PER_S) /* how long a further link of a lane is kept without use */
#define HEAVY_NS (10 * NS_PER_S)   /* so long after a large reply its session keeps off the first link */
#define LANES_MAX 128u             /* lanes of one context */
#define DEDICATED_CONNECTING 8u    /* dedicated links of one lane that connect at the same time */
#define ADDRESSES_MAX 8u
#define PATH_MAX_LEN 4096u
#define TEXT_MAX 300u
#define WHY_MAX 180u               /* of it, what link_lost() is given */
#define SECRET_MAX 1024u
#define USER_MAX 256u
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

struct url { /* url.c */
	char host[256];       /* name or address without brackets; empty: path counts */
	char path[108];       /* of a Unix socket */
	char user[USER_MAX], secret[SECRET_MAX];
	uint16_t port, db;
	bool has_db, tls;
};

/* 0, or -1 with a sentence in err that does not contain the secret. */
int url_parse(const char *text, struct url *u, char *err, size_t cap);

struct tls;      /* tls.h: what new links of an instance need for TLS */
struct tls_link; /* ... and what one connection has */

/* CONTROL: one of a context, for CLIENT UNBLOCK; in no list and under no limit. */
enum { DEDICATED_POOL, DEDICATED_BLOCKING, DEDICATED_CLASSES, DEDICATED_CONTROL = DEDICATED_CLASSES };

/* One [backend NAME]; shared by all contexts.  Freed with the last reference: a job on a host's
 * thread may outlive stop(). */
struct instance {
	const purser_host *h;
	purser_instance *i;
	atomic_uint refs;
	/* settings: constant after start() */
	struct url url;             /* secret and user moved to the fields below */
	char where[300];            /* for people: "127.0.0.1:6379" */
	char client_name[64], eviction[32];
	uint64_t base_ns, cap_ns, idle_ns, life_ns, ping_ns;
	bool apply, url_secret;     /* url_secret: the password is in url */
	unsigned limit[DEDICATED_CLASSES], pool_min;
	struct sockaddr_storage address; /* where the host is a number or a path */
	socklen_t address_len;           /* 0: a name, resolved for each connection */
	uint32_t endpoint;
	/* shared state */
	_Atomic uint64_t connect_ns, op_ns;
	_Atomic int64_t max_memory;
	atomic_uint dedicated[DEDICATED_CLASSES]; /* links that exist, of all contexts */
	atomic_bool secret_stale;   /* the server refused it: read the file before the next attempt */
	atomic_bool legacy;         /* the server does not know HELLO */
	atomic_uint ups;            /* links of any lane that came up so far */
	atomic_bool has_file;       /* password_file is set */
	pthread_mutex_t lock;       /* of what follows */
	struct ctx *contexts;       /* those that are not drained */
	char secret[SECRET_MAX];
	char password_file[PATH_MAX_LEN];
	struct tls *tls;            /* NULL: plain */
	bool eviction_told;
	struct cred *creds;         /* cred.c */
	struct rotation *rotation;  /* prepare() .. adopt(); the control thread's */
};

struct ctx;
struct lane;
struct link;
struct prep;

/* What a session has here, from its first need to session_end(), or close(). */
struct session {
	struct session *next, *prev; /* all of a context */
	struct link *pin;     /* its own link: PINNED */
	bool pin_lost;        /* it was lost, and with it what was watched; until UNPIN */
	uint64_t mark;        /* lane epoch * LANE_LINKS + index of the link that its calls are on */
	uint32_t flight;      /* how many: those that somebody still waits for */
	uint64_t heavy_until; /* ns: it got a large reply, and may get more */
};

/* A call's user[]: its link; where its last byte is in the link's stream (see link.sent); the session
 * that it binds to its link while the lane is tracked, or CANCELLED. */
#define CANCELLED ((struct session *)(uintptr_t)1)

enum phase { LINK_CLOSED, LINK_PREPARING, LINK_CONNECTING, LINK_TLS, LINK_HELLO, LINK_UP };
/* Why a shared link takes no new sessions: its client does not read, a request goes out in pieces, or
 * a large reply is coming in. */
enum { BLOCKED_REPLY = 1, BLOCKED_ENCODE = 2, BLOCKED_LARGE = 4 };
enum { READ_START, READ_VALUE, READ_SKIP, READ_DROP, READ_LINE };
enum hello_step { STEP_HELLO, STEP_AUTH, STEP_NAME, STEP_SELECT, STEP_CRED, STEP_INFO, STEP_POLICY, STEP_PING,
	STEP_SET, STEP_UNBLOCK, STEPS_MAX };
/* What is known of a blocked link that the server is to unblock. */
enum { UNBLOCK_NOT, UNBLOCK_WANTED, UNBLOCK_SENT };

struct out { uint8_t *p; size_t at, end, cap; };

struct link {
	struct ctx *x;
	struct lane *lane;
	int fd;                   /* -1: none */
	struct tls_link *tls;     /* NULL: plain */
	uint8_t phase, blocked, reading, version; /* version: 2 or 3 */
	uint8_t index;            /* of a shared link in its lane */
	bool dedicated, dirty, armed, began;
	const struct ear *ear;    /* NULL, or who reads what comes although nobody asked */
	bool waiting;             /* encode() said WAIT: resume() comes */
	bool hup;                 /* the peer sends no more: read to the end, no edge follows */
	bool idle;                /* a dedicated link in its lane's list */
	bool checking;            /* HELLO, but it was up: a PING, or CLIENT UNBLOCK */
	bool unblock_error;       /* ERROR, not TIMEOUT */
	uint8_t unblock, tries;   /* UNBLOCK_*; how often it has been sent */
	uint32_t as;              /* cred of the user that it is; the lane's but for a watch that another's EXEC ends */
	uint8_t class_;           /* of a dedicated link */
	uint8_t shown;            /* PURSER_LINK_* as told to the host */

	/* calls in the order of their bytes: head .. (unsent .. tail] */
	purser_call *head, *tail, *unsent; /* unsent: the first whose last byte has not left */
	purser_call *encoding;    /* the last one, if only a part of it is encoded */
	uint32_t ncalls, skip;    /* skip: replies to swallow before head's own */
	uint32_t nskips;          /* calls with such replies */
	uintptr_t sent;           /* bytes handed to the kernel since it is up; wraps */
	struct out out;
	unsigned small;           /* writes that a small buffer would have done for */

	purser_scan scan;
	uint64_t came;            /* bytes of a reply that comes in several pieces */
	uint8_t *carry;           /* bytes that were read and could not be used yet */
	size_t carried, carry_cap;

	struct link *next_dirty, *next_grave, *next_idle, *prev_idle;
	struct link *next_dedicated, *prev_dedicated;
	struct session *owner;    /* PINNED */
	struct link *next_unblock;
	uint64_t idle_since, checked, dies; /* ns; dies: UINT64_MAX = never */

	uint64_t timer;           /* connection_timeout, or "go on reading" */
	struct prep *prep;        /* addresses and the one that is tried */
	unsigned address;
	uint8_t steps[STEPS_MAX], nsteps, step;
	uint64_t up_since;
	uint64_t heard;           /* ns: when bytes came last */
	uint64_t id;              /* the server's number of this connection; 0: it did not say */
	char server[32];          /* its version, from HELLO */
};

struct lane {
	struct lane *next;
	struct ctx *x;
	uint64_t key;
	uint16_t db;
	uint8_t version;
	uint32_t cred;            /* 0: the instance's own user */
	struct link *links[LANE_LINKS]; /* made on demand; the first is the normal one */
	unsigned nlinks;
	bool tracking;            /* more than the first link is in use: sessions are marked */
	uint64_t epoch;           /* of tracking */
	struct link *idle[DEDICATED_CLASSES]; /* LIFO */
	unsigned connecting;      /* dedicated links on their way */
	bool clients;             /* somebody but the agent itself has used it */

	bool down;                /* the last attempt failed: calls fail at once */
	uint32_t code;            /* ... with this */
	char text[TEXT_MAX];
	unsigned fails;           /* attempts in a row */
	unsigned ups;             /* instance.ups when the latest of them failed */
	unsigned flaps;           /* links in a row that were lost as soon as they were up */
	uint64_t down_since, told, used; /* ns: of the first failure, the last log line, the last call */
	uint64_t timer;           /* the next attempt */
	uint64_t slim_timer;      /* links but the first were used: look whether they still are */
	bool extra_used;
	uint64_t heavy_until;     /* of its sessions the last */
};

struct ctx {
	const purser_host *h;     /* first: the hot path's */
	purser_ctx *x;
	struct instance *in;
	struct lane *hot;         /* the one last used */
	struct link *dirty;       /* links with bytes to write */
	struct link *dedicated;   /* all that live */
	struct link *grave;       /* dead dedicated links: freed at the next flush */
	struct lane *lanes;
	struct session *sessions;
	unsigned nlanes, routes_again; /* bit per route: AGAIN was answered */
	uint64_t epoch, random;
	uint64_t poll_timer, sweep_timer;
	struct push *push;        /* made at the first subscription */
	struct ctx *next_context;
	atomic_uint nidle[DEDICATED_CLASSES];  /* read by the other contexts */
	atomic_bool asked[DEDICATED_CLASSES];  /* give[] is posted */
	purser_job give[DEDICATED_CLASSES];    /* another context is at the limit and has none of its own */
	struct link *control;     /* unblock.c */
	struct link *unblocks, **unblocks_end; /* UNBLOCK_WANTED, in order */
	struct link *told[STEPS_MAX]; /* UNBLOCK_SENT: by the step of the control link; NULL: gone */
	struct track *track;      /* made when the first prefix is tracked */
	bool draining;
	uint8_t *scratch;
};

enum { COUNT_OPENED, COUNT_FAILED, COUNT_LOST, COUNT_PROTOCOL, COUNT_PUSHES, COUNT_TLS,
	COUNT_TLS_RESUMED };

/* settings.c */
#define REDIS_NKEYS 23
extern const purser_key redis_keys[REDIS_NKEYS];
int instance_new(const purser_host *h, purser_instance *i, struct instance **out, purser_error *e);
void instance_ref(struct instance *in);
void instance_unref(struct instance *in); /* wipes the secret with the last reference */
int instance_read_secret(struct instance *in, char *err, size_t cap); /* may block */
/* One line of a file into secret (SECRET_MAX); what: the setting that names it. */
int secret_read(const char *what, const char *path, char *secret, char *err, size_t cap);
/* A setting into dst; in start() and prepare() only. */
int text_setting(struct instance *in, const char *key, char *dst, size_t cap, char *err, size_t ecap);
void instance_tell_policy(struct instance *in, const char *policy, size_t n);

/* rotate.c */
int instance_prepare(struct instance *in, purser_error *e);
void instance_adopt(struct instance *in, bool commit);

/* prep.c */
struct prep {
	purser_job work, done;
	struct instance *in;
	struct link *l;           /* NULL: nobody waits any more, done() frees it */
	struct sockaddr_storage address[ADDRESSES_MAX];
	socklen_t length[ADDRESSES_MAX];
	unsigned n;
	uint32_t code;            /* 0, or PURSER_E_* with err */
	char err[TEXT_MAX];
	bool running;
};
int prep_start(struct link *l);  /* 0, or -1 without memory; link_prepared() follows, at once or later */
void prep_leave(struct link *l); /* its link does not need it any more */

/* link.c */
struct link *link_new(struct lane *lane, bool dedicated, unsigned class_); /* NULL: no memory */
void link_open(struct link *l);      /* CLOSED -> ... -> UP, or link_lost() */
void link_prepared(struct link *l);
void link_greet(struct link *l);     /* connected, by TLS where it is wanted: the handshake of Redis */
void link_up(struct link *l);
/* Ends all its calls, in order, closes it and tells the lane or the pool. */
void link_lost(struct link *l, uint32_t code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void link_end(struct link *l);       /* close for good: its calls fail, nobody else is told */
void link_shut(struct link *l);      /* close without telling anybody; it has no calls */
void link_free(struct link *l);
void link_bury(struct link *l);      /* free it at the next flush; it is shut */
void link_timeout(void *arg);        /* what it waits for took too long */
void link_event(void *arg, int fd, uint32_t events);
void link_read_later(struct link *l);
void link_show(struct link *l, uint32_t state);
static inline bool link_busy(const struct link *l) { return l->head != NULL; }

/* hello.c */
int hello_begin(struct link *l);     /* 0, or -1 without memory */
/* The same of a link that is up and has no calls: what follows is commands of our own until all are answered. */
int hello_again(struct link *l);
int hello_user(struct link *l, uint32_t cred); /* from here on the connection is this user's */
int hello_put(struct link *l, unsigned step, unsigned nwords, const char *const *words);
/* One whole reply, or error text.  <0: the link is gone. */
int hello_reply(struct link *l, const uint8_t *p, size_t n);

/* cred.c */
int cred_set(struct instance *in, uint32_t id, purser_bytes user, purser_bytes secret); /* user empty: forget */
bool cred_get(struct instance *in, uint32_t id, char user[USER_MAX], char secret[SECRET_MAX]);
bool cred_known(struct instance *in, uint32_t id);
void cred_free(struct instance *in);

/* tls.c; what the kernel is asked where there is no TLS.  As send() and recv(), but short only when
 * nothing more goes now; a link that ended in the middle is said by the next one. */
ssize_t tls_send(struct link *l, const void *p, size_t n);
ssize_t tls_recv(struct link *l, void *p, size_t n);
static inline ssize_t link_send(struct link *l, const void *p, size_t n)
{
	return __builtin_expect(l->tls != NULL, 0) ? tls_send(l, p, n) : send(l->fd, p, n, MSG_NOSIGNAL);
}

static inline ssize_t link_recv(struct link *l, void *p, size_t n)
{
	return __builtin_expect(l->tls != NULL, 0) ? tls_recv(l, p, n) : recv(l->fd, p, n, 0);
}

/* wire.c */
int out_room(struct out *o, size_t n);
void out_put(struct out *o, const void *p, size_t n); /* there is room */
static inline size_t out_len(const struct out *o) { return o->end - o->at; }
int link_put(struct link *l, purser_call *c); /* PENDING, DONE (failed), AGAIN */
int link_flush(struct link *l);      /* <0: the link is gone */
void link_dirty(struct link *l);
void link_encode(struct link *l);    /* more of l->encoding */

/* reply.c */
int link_read(struct link *l);       /* <0: the link is gone */
void link_broken(struct link *l, int err); /* the socket says err: lost */
void link_resume(struct link *l);    /* its client takes bytes again */

/* lane.c */
static inline uint64_t lane_key(uint16_t db, uint8_t version, uint32_t cred)
{
	return (uint64_t)cred << 32 | (uint64_t)db << 8 | version;
}

/* The lane, made if need be; NULL: see errno. */
struct lane *lane_find(struct ctx *x, uint16_t db, uint8_t version, uint32_t cred);
static inline struct lane *lane_of(struct ctx *x, const purser_call *c)
{
	uint8_t version = c->resp == 3 ? 3 : 2;

	if (x->hot && x->hot->key == lane_key(c->db, version, c->cred))
		return x->hot;
	return lane_find(x, c->db, version, c->cred);
}

void lane_free(struct lane *lane);
bool lane_unused(const struct lane *lane);     /* nothing is under way on it, and no link is its own */
uint64_t lane_heard(const struct lane *lane);  /* ns: when it was used last */
int lane_submit(struct ctx *x, purser_call *c);
void lane_up(struct link *l);
void lane_lost(struct link *l, const char *text, unsigned calls); /* it was up */
void lane_failed(struct lane *lane, uint32_t code, const char *text);
int lane_refuse(struct lane *lane, purser_call *c); /* fails c with the reason; PURSER_DONE */
void lane_heavy(struct lane *lane, purser_call *c); /* c got a large reply */
void lane_drained(struct link *l);   /* its last call ended */
void lane_forget(purser_call *c);    /* nobody waits for it: it binds its session to no link */
/* A call of a tracked lane has ended. */
static inline void lane_ended(purser_call *c)
{
	struct session *s = c->user[2];

	if (s && s != CANCELLED)
		s->flight--;
}
int ctx_again(struct ctx *x, uint32_t route); /* PURSER_AGAIN; ctx_wake() follows */
void ctx_wake(struct ctx *x, uint32_t route);
void ctx_wake_all(struct ctx *x);
uint64_t ctx_jitter(struct ctx *x, unsigned n); /* ns: U(0, min(cap, base * 2^n)), never 0 */
struct session *session_of(struct ctx *x, purser_session *s); /* NULL: no memory */
void session_free(struct ctx *x, struct session *s); /* closes what it has pinned */

/* pool.c */
int pool_open(struct lane *lane, unsigned class_); /* one more, on its way (it may have failed); -1: no memory */
bool pool_reserve(struct ctx *x, unsigned class_, unsigned limit); /* may one more exist? */
void pool_close(struct link *l);     /* an idle one */
void pool_free(struct link *l);      /* it has no call any more: for anybody */
int pool_submit(struct ctx *x, purser_call *c);
void pool_up(struct link *l, bool fresh); /* not fresh: it was up before a check */
void pool_gone(struct link *l, bool was_up); /* a dedicated link was closed: account and bury it */
void pool_ended(struct link *l, uint32_t flags); /* one of its calls ended well */
void pool_unpin(struct session *s);  /* the session ends: its link is closed */
void pool_close_idle(struct ctx *x);
void pool_stop(struct ctx *x);       /* all links and timers */

/* A link that no call ever comes to, but what the server says by itself. */
struct ear {
	void (*up)(struct link *l);
	int64_t (*feed)(struct link *l, const uint8_t *p, size_t n); /* n, or -1: the link is gone */
	void (*lost)(struct link *l, const char *text, bool was_up); /* it is closed */
};

/* Bytes of which whole values are made. */
struct pile {
	purser_scan scan;
	uint8_t *in;              /* a value that is not all here */
	size_t have, cap, scanned;
};

/* push.c */
int64_t pile_feed(struct pile *p, struct link *l, const uint8_t *bytes, size_t n,
    int (*heard)(struct link *l, const uint8_t *at, size_t n)); /* heard: -1: nonsense */
void pile_clear(struct pile *p);
int push_number(const uint8_t **at, const uint8_t *end, char type, int64_t *v); /* a header line of type */
int push_bulk(const uint8_t **at, const uint8_t *end, purser_bytes *out);
int push_subscribe(struct ctx *x, uint32_t kind, purser_bytes name, int on); /* 0, or -1: not now */
void push_stop(struct ctx *x);
/* keep.c */
void keep_join(struct ctx *x);       /* other contexts may ask it for room, until it is drained */
void keep_leave(struct ctx *x);
void keep_ask(struct ctx *x, unsigned class_); /* the others are to close an idle link, if one has any */
void keep_begin(struct ctx *x);      /* there is a link: look after it from now on */
void keep_warm(struct lane *lane);   /* pool_min */
void keep_up(struct link *l);        /* how long it may live */

/* unblock.c */
int unblock_want(struct link *l, bool error); /* its call ends by the server's reply; -1: that cannot be had */
void unblock_ready(struct link *control);
void unblock_answered(struct link *control, unsigned step, const uint8_t *p, size_t n);
bool unblock_ended(struct link *l);  /* its call has ended.  True: it is not free yet */
void unblock_gone(struct link *l);   /* a dedicated link is closed */

/* track.c */
int track_prefix(struct ctx *x, purser_bytes prefix, int on); /* 0, or -1 */
void track_stop(struct ctx *x);
#endif
