/* SPDX-License-Identifier: Apache-2.0
 *
 * server: from sockets to requests and back.  In: connections on the Unix socket (RESP or HTTP,
 * decided once per connection) and on the loopback TCP listener (HTTP only).  Out: requests to the
 * spine, replies to the sockets: every ready client is read once a turn, every client flushed once.
 */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H
#include <stdatomic.h>
#include <sys/types.h>
#include "request.h"
#include "resilience/drr.h"
#include "resp/parse.h"
#include "server/http_head.h"
#include "server/look.h"

struct conn;
struct serving;
struct http_routes;

struct server_limits {              /* of one configuration generation; copied into each worker */
	struct resp_limits resp;
	struct resp_limits preauth;     /* of a connection that has no project yet */
	struct http_limits http;
	uint32_t max_clients;
	uint32_t max_pipeline;
	size_t output_limit;
	size_t input_limit;
	uint64_t slow_reader_ns;
	uint64_t idle_ns;               /* 0: never */
	uint64_t heartbeat_ns;          /* of streams of events */
};

/* ---- listening (worker 0) ---- */
struct listener {
	struct loop_io io;
	struct server *srv;
	int fd;                         /* -1: none */
	bool tcp;
	char path[108];                 /* of a Unix socket that we made: unlinked at the end */
	dev_t dev;                      /* ... if it is still ours */
	ino_t ino;
};

struct server {
	struct http_routes *routes;     /* read-only once it is made */
	struct serving *workers;
	uint32_t nworkers;
	struct log *log;
	struct listener unix_listener, http_listener;
	struct loop_timer pause;        /* accept again after a shortage of descriptors */
	_Atomic uint32_t nclients;
	_Atomic uint64_t next_id;
};

struct socket_opts {
	const char *path;
	uint32_t mode;
	const char *group;              /* "" = the agent's own */
};
/* Bind and listen.  A socket file that nobody listens on is removed; a live one is an error.  0, or
 * -1 with a sentence in why. */
int listen_unix(struct server *s, const struct socket_opts *o, char *why, size_t whylen);
int listen_tcp(struct server *s, const char *address, uint16_t port, char *why, size_t whylen);
/* Sockets handed over by systemd (LISTEN_FDS, LISTEN_PID): how many were taken, or -1 with why. */
int listen_inherited(struct server *s, char *why, size_t whylen);
void listen_start(struct server *s);  /* on worker 0's thread */
void listen_stop(struct server *s);   /* on worker 0's thread: no more connections */
void listen_close(struct server *s);  /* close, and remove the socket file that we made */

/* ---- a worker that serves ---- */
#define READ_BLOCK 65536u
#define GATHER_MAX 32u                  /* connections that are read one after the other, then parsed */

struct flow;
struct fair {                           /* conn_fair.c */
	struct drr drr;                 /* connections that wait for their turn, by project */
	struct flow **flows;            /* by namespace number of the project, and 1; 0: none is chosen */
	uint32_t nflows;
	uint32_t started;               /* requests, this turn */
	bool on;                        /* so many that it matters who starts them, or somebody waits */
	uint64_t turn;
	uint64_t light_ns;              /* somebody who asks for little came beside those who wait */
	const struct conn *serving;     /* whose turn it is */
};

struct serving {
	struct worker w;                /* first */
	struct fair fair;
	struct server *srv;
	struct server_limits limits;
	struct loop_hook hook;
	struct loop_timer tick;         /* once a second: idle and slow clients */
	struct conn *dirty;             /* to be looked at this turn */
	struct resp_parser parser;
	uint8_t *scratch;               /* twice READ_BLOCK */
	struct loop_hook told;
	struct read_in { struct conn *c; uint8_t *p; size_t n; } gathered[GATHER_MAX]; /* in scratch, not parsed yet */
	uint32_t ngathered;
	size_t gathered_bytes;
	struct look look;
	uint64_t turns_seen;            /* the control thread's: is the loop alive? */
	uint32_t still;                 /* ... how often it was not */
};

int serving_init(struct serving *s, struct server *srv); /* 0 or -ENOMEM; s->w is ready */
void serving_start(struct serving *s);                   /* on its thread */
void serving_close_all(struct serving *s, bool now);     /* now: without waiting for replies */
void serving_free(struct serving *s);
/* A connected descriptor (transfers) becomes a client of this worker; on its thread. */
void conn_accept(struct serving *s, int fd, bool tcp);

/* ---- a connection ---- */
enum conn_proto { CONN_SNIFF, CONN_RESP, CONN_HTTP };

struct http_conn;
struct conn_events;
struct conn {
	struct client cl;               /* first */
	struct loop_io io;
	struct serving *sv;
	uint8_t proto;
	bool tcp;
	bool readable, writable;        /* the kernel may have more for us; takes more from us */
	bool ending;                    /* no edge follows: read on until the end */
	bool eof;                       /* the peer sends no more */
	bool hup;                       /* ... and reads no more either */
	bool hungry;                    /* what is in `in` is incomplete: only the socket can help */
	bool closing;                   /* the descriptor is closed; waits until the client is idle */
	bool dirty;
	bool gathered;                  /* what was read of it waits to be parsed */
	bool busy;                      /* HTTP: a request is being answered; the next one waits */
	struct conn *next_dirty;
	struct buf in;                  /* an incomplete request, or requests that wait */
	struct resp_parser *parser;     /* of a large incomplete request at in's front */
	struct http_conn *http;
	struct conn_events *events;     /* HTTP: it is, or is about to be, a stream of events */
	struct conn_stream *stream;     /* a request that passes through while it arrives */
	uint64_t accepted_ns;           /* CLOCK_MONOTONIC */
	uint64_t last_ns;               /* something came in */
	uint32_t share;                 /* requests that it started this turn */
	uint32_t allow;                 /* ... of how many; 0: it waits for its turn */
	struct {                        /* conn_fair.c */
		struct drr_item item;
		struct flow *flow;      /* of its project, once that mattered */
		uint32_t number;        /* ... of which this is the number */
		uint32_t counted;       /* requests of it that are in the flow's */
		bool waits;             /* it is in the ring */
		uint64_t heavy_ns;      /* when it last had more than it might start */
		uint64_t bytes;         /* of requests so far */
	} fair;
	uint64_t blocked_ns;            /* replies wait and the peer reads nothing since; 0 = it reads */
};

void conn_wake(struct client *c);
void conn_close(struct conn *c);
/* Tells the backend the keys of some requests in p[0..n) before they are parsed; the bytes that it looked at. */
size_t conn_look_ahead(struct conn *c, const uint8_t *p, size_t n);
void conn_looked(struct conn *c); /* the batch is over: .look.timing */
void conn_look_ahead_all(const struct read_in *v, uint32_t n); /* the first request of each */

/* Protocols: start the requests in p[0..n), as many as may start now.  The bytes used, or FEED_TOOK: the
 * block of c->in went to a request and c->in is already what is left. */
#define FEED_TOOK SIZE_MAX
size_t conn_feed_resp(struct conn *c, uint8_t *p, size_t n);
size_t conn_feed_http(struct conn *c, uint8_t *p, size_t n);
void conn_http_step(struct conn *c);  /* the next command, the next reply */
bool conn_http_may_step(const struct conn *c);
void conn_http_free(struct conn *c);
/* Streams of events (conn_events.c).  begin: what the client hears is kept; false: no memory.  live: the head of the
 * answer is out, events follow.  drop: the answer was an error. */
bool conn_events_begin(struct conn *c, bool base64);
void conn_events_live(struct conn *c, bool chunked);
void conn_events_drop(struct conn *c);
bool conn_events_are_live(const struct conn *c);
void conn_events_end(struct conn *c);  /* c->cl.quit: says why, and that is the end of the body */
void conn_events_beat(struct conn *c, uint64_t now);
void conn_events_free(struct conn *c);
/* Large requests on RESP that pass through (conn_stream.c).  begin: the incomplete request at the front of
 * c->in, of which ps has parsed the first words; false: it is to be gathered. */
bool conn_stream_begin(struct conn *c, const struct resp_parser *ps);
void conn_stream_read(struct conn *c);
void conn_stream_step(struct conn *c); /* c->stream is NULL when it is over */
bool conn_stream_reads(const struct conn *c);
bool conn_stream_may_step(const struct conn *c);
void conn_stream_free(struct conn *c);
/* recv() at most n bytes; 0: nothing now, or c->eof. */
size_t conn_receive(struct conn *c, void *p, size_t n);
/* Answer with an error behind the replies that are owed, and close behind that.  text NULL: the row's. */
void conn_refuse(struct conn *c, enum err_code code, const char *text);
/* Fairness: what one client may start before it is the others' turn, and how many of its requests may wait for
 * their replies (max_pipeline, if that is less), so that another's command is never behind more than these. */
#define TURN_REQUESTS 128u
#define FLIGHT_REQUESTS 1024u
void fair_init(struct serving *s);
void fair_free(struct serving *s);
/* fair.on: does c wait for its turn?  It is asked before c starts anything by itself. */
bool fair_waits(struct conn *c);
void fair_spent(struct conn *c);               /* c has started all that it might */
void fair_started(struct conn *c, uint32_t n); /* c has started n requests */
void fair_settle(struct conn *c);              /* requests of c may have been answered */
void fair_close(struct conn *c);
/* Those who wait: a slice. */
void fair_turn(struct serving *s);
bool fair_shared(const struct serving *s);     /* slices are short: others' requests are sent first */
void fair_turn_ends(struct serving *s);
void conn_go_on(struct conn *c);               /* what may start now starts */
static inline bool conn_crowded(const struct client *cl)
{
	const struct purser_ctx *x = cl->head && cl->project ? cl->w->ctx[cl->project->instance] : NULL;

	return x && ctx_crowded(x);
}
static inline bool conn_may_read(const struct conn *c)
{
	return client_may_start(&c->cl) && !c->cl.quit && !c->busy &&
	    (c->cl.gen == c->sv->w.gen || !c->cl.head) && c->cl.nrequests < c->sv->limits.max_pipeline &&
	    c->share < c->allow && c->cl.nrequests < FLIGHT_REQUESTS && !conn_crowded(&c->cl) &&
	    c->cl.out.bytes + c->cl.behind < c->sv->limits.output_limit;
}

/* Handlers of the commands that the agent answers itself, by command id. */
void server_handlers(req_handler *table);
#endif
