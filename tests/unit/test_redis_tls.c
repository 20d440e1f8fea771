/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS of the redis plugin against a server that the test plays, itself by OpenSSL: records of any
 * size, both directions waiting for each other, ends in the middle, and what is said of them.
 */
#include <config.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include "redis_host.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define SET(...) ((const char *const[]){ __VA_ARGS__, NULL })

enum { OPENED, FAILED, LOST, PROTOCOL, PUSHES, HANDSHAKES, RESUMED };

static struct purser_ctx *x;
static SSL_CTX *ctx;
static int listener;
static char url[64], ca_setting[64], ca_path[32];

struct peer { int fd; SSL *ssl; char *got; size_t n, cap; bool ended; };

/* ---- a certificate ------------------------------------------------------------------------------- */

static void certificate(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
	X509_NAME *name = X509_get_subject_name(cert);
	FILE *f;

	assert_non_null(key);
	assert_non_null(san);
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
	X509_set_issuer_name(cert, name);
	X509_add_ext(cert, san, -1);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
	f = fopen(ca_path, "w");
	assert_non_null(f);
	assert_int_equal(PEM_write_X509(f, cert), 1);
	fclose(f);
	X509_EXTENSION_free(san);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static int begin(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);

	(void)state;
	ctx = SSL_CTX_new(TLS_server_method());
	assert_non_null(ctx);
	snprintf(ca_path, sizeof(ca_path), "/tmp/purser-test-XXXXXX");
	close(mkstemp(ca_path));
	certificate();
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(listener, 16), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
	snprintf(url, sizeof(url), "url=rediss://127.0.0.1:%u", ntohs(a.sin_port));
	snprintf(ca_setting, sizeof(ca_setting), "tls_ca_file=%s", ca_path);
	x = host_new(SET(url, ca_setting, "reconnect_base=1ms", "reconnect_cap=5ms"));
	return 0;
}

static int finish(void **state)
{
	(void)state;
	host_free(x);
	close(listener);
	unlink(ca_path);
	SSL_CTX_free(ctx);
	return 0;
}

/* ---- the server's side --------------------------------------------------------------------------- */

static void peer_read(struct peer *p)
{
	size_t k;

	do {
		if (p->cap - p->n < 65536) {
			p->cap = p->cap ? p->cap * 2 : 131072;
			p->got = realloc(p->got, p->cap);
			assert_non_null(p->got);
		}
		ERR_clear_error();
		if (SSL_read_ex(p->ssl, p->got + p->n, p->cap - p->n - 1, &k)) {
			p->n += k;
			p->got[p->n] = '\0';
			continue;
		}
		p->ended = SSL_get_error(p->ssl, 0) != SSL_ERROR_WANT_READ;
		break;
	} while (1);
}

/* A turn of both sides; loopback may take its time, so wait a little when nothing comes.  `left` of
 * them (10 s) are enough for everything here. */
static void step(struct peer *p, int *left)
{
	size_t before = p ? p->n : 0;

	assert_true((*left)-- > 0);
	host_turn(x);
	if (p && p->ssl)
		peer_read(p);
	if (!p || p->n == before)
		usleep(100);
}

#define LEFT 100000

static void peer_until(struct peer *p, size_t n)
{
	int left = LEFT;

	while (p->n < n)
		step(p, &left);
}

static void peer_write(struct peer *p, const void *bytes, size_t n)
{
	size_t at = 0, k;

	for (int i = 0; i < LEFT && at < n; i++) {
		ERR_clear_error();
		if (SSL_write_ex(p->ssl, (const char *)bytes + at, n - at, &k)) {
			at += k;
			continue;
		}
		assert_int_equal(SSL_get_error(p->ssl, 0), SSL_ERROR_WANT_WRITE);
		host_turn(x);
		usleep(50);
	}
	assert_int_equal(at, n);
}

static void peer_say(struct peer *p, const char *text)
{
	peer_write(p, text, strlen(text));
}

/* The next connection; the handshake of TLS is done. */
static void peer_accept(struct peer *p)
{
	int rc = 0, left = LEFT;

	memset(p, 0, sizeof(*p));
	while ((p->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) < 0)
		step(NULL, &left);
	p->ssl = SSL_new(ctx);
	SSL_set_fd(p->ssl, p->fd);
	while (rc != 1) {
		ERR_clear_error();
		rc = SSL_accept(p->ssl);
		if (rc != 1)
			assert_int_equal(SSL_get_error(p->ssl, rc), SSL_ERROR_WANT_READ);
		step(NULL, &left);
	}
}

/* And that of Redis. */
static void peer_hello(struct peer *p)
{
	int left = LEFT;

	peer_accept(p);
	while (!p->n || !strstr(p->got, "PING\r\n")) {
		step(p, &left);
		assert_false(p->ended);
	}
	p->n = 0;
	peer_say(p, "*6\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$4\r\nmode\r\n$10\r\n"
	    "standalone\r\n+PONG\r\n");
}

static void peer_close(struct peer *p)
{
	if (p->ssl)
		SSL_free(p->ssl);
	if (p->fd >= 0)
		close(p->fd);
	free(p->got);
	memset(p, 0, sizeof(*p));
}

#define GET_BYTES 20u /* *2 $3 GET $1 k */

static struct call *get(void)
{
	struct call *c = call_words(x, 0, PURSER_ROUTE_SHARED, 2, "GET k");

	call_submit(x, c);
	return c;
}

/* A link that is up, and the first call answered. */
static void up(struct peer *p)
{
	struct call *c = get();

	peer_hello(p);
	peer_until(p, GET_BYTES);
	p->n = 0;
	peer_say(p, "$1\r\nv\r\n");
	host_wait(x, &c->ended);
	assert_string_equal(c->error, "");
	assert_memory_equal(c->reply, "$1\r\nv\r\n", 7);
	call_free(c);
}

/* SET k <a megabyte>, which no socket buffer holds; they make the link's buffers full. */
static struct call *large(size_t bytes)
{
	size_t cap = bytes + 64, n;
	char *wire = malloc(cap);
	struct call *c;

	assert_non_null(wire);
	n = (size_t)snprintf(wire, cap, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%zu\r\n", bytes);
	memset(wire + n, 'x', bytes);
	memcpy(wire + n + bytes, "\r\n", 2);
	c = call_new(x, 0, PURSER_ROUTE_SHARED, 2, wire, n + bytes + 2);
	free(wire);
	call_submit(x, c);
	return c;
}

/* ---- tests ---------------------------------------------------------------------------------------- */

/* A record for each byte of a reply; then many replies in one record. */
static void records(void **state)
{
	static const char reply[] = "$5\r\nhello\r\n";
	struct call *c[100];
	struct peer p;
	char many[sizeof(c) / sizeof(*c) * sizeof(reply)];

	(void)state;
	up(&p);
	c[0] = get();
	peer_until(&p, GET_BYTES);
	for (size_t i = 0; i < sizeof(reply) - 1; i++) {
		assert_false(c[0]->ended);
		peer_write(&p, reply + i, 1);
		host_turn(x);
	}
	host_wait(x, &c[0]->ended);
	assert_memory_equal(c[0]->reply, reply, sizeof(reply) - 1);
	call_free(c[0]);
	for (unsigned i = 0; i < 100; i++) {
		c[i] = get();
		snprintf(many + i * (sizeof(reply) - 1), sizeof(reply), "%s", reply);
	}
	peer_until(&p, 101 * GET_BYTES);
	peer_say(&p, many);
	for (unsigned i = 0; i < 100; i++) {
		host_wait(x, &c[i]->ended);
		assert_memory_equal(c[i]->reply, reply, sizeof(reply) - 1);
		call_free(c[i]);
	}
	assert_int_equal(x->count[HANDSHAKES], 1);
	peer_close(&p);
	host_turn(x);
}

/* The server changes its keys and wants ours changed: our answer must be written while we read, and
 * at that moment nothing can be written, because the server does not read. */
static void keys_updated(void **state)
{
	struct call *c[40];
	struct peer p;

	(void)state;
	up(&p);
	for (unsigned i = 0; i < 40; i++) {
		c[i] = large(1u << 20);
		host_turn(x);
	}
	for (int i = 0; i < 200; i++) /* until nothing more goes */
		host_turn(x);
	assert_false(c[39]->was_sent);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(SSL_key_update(p.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		assert_int_equal(SSL_do_handshake(p.ssl), 1);
		host_turn(x);
	}
	for (unsigned i = 0; i < 40; i++) {
		size_t want = (size_t)(i + 1) << 20;

		peer_until(&p, want);
		assert_false(p.ended);
		if (i % 8 == 3) {
			assert_int_equal(SSL_key_update(p.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
			assert_int_equal(SSL_do_handshake(p.ssl), 1);
		}
		for (int left = LEFT; !c[i]->was_sent;)
			step(&p, &left);
		peer_say(&p, "+OK\r\n");
		host_wait(x, &c[i]->ended);
		assert_string_equal(c[i]->error, "");
		call_free(c[i]);
	}
	peer_close(&p);
	host_turn(x);
}

/* The server goes without a word, having read a part: what it may have run is said to have been sent,
 * what it cannot have is not, and those that waited come by the next link. */
static void cut(void **state)
{
	enum { CALLS = 40, VALUE = 100000, BYTES = VALUE + 40 }; /* a little more than each needs */
	struct call *c[CALLS];
	unsigned sent = 0, maybe = 0;
	size_t whole;
	struct peer p;

	(void)state;
	up(&p);
	for (unsigned i = 0; i < CALLS; i++) {
		c[i] = large(VALUE);
		host_turn(x);
	}
	peer_until(&p, 3 * BYTES);
	whole = p.n / BYTES; /* nothing more is read */
	SSL_set_quiet_shutdown(p.ssl, 1);
	peer_close(&p);
	for (int left = LEFT; !c[0]->ended;)
		step(NULL, &left);
	for (unsigned i = 0; i < CALLS; i++) {
		sent += c[i]->was_sent;
		if (!c[i]->ended)
			continue;
		assert_true(c[i]->failed);
		assert_int_equal(c[i]->executed, c[i]->was_sent ? PURSER_MAYBE_EXECUTED : PURSER_NOT_EXECUTED);
		maybe += c[i]->was_sent;
	}
	assert_int_equal(sent, maybe);
	assert_true(sent >= whole && whole >= 2);
	if (!c[CALLS - 1]->ended)
		peer_hello(&p);
	for (unsigned i = 0; i < CALLS; i++) {
		if (!c[i]->ended) {
			for (int left = LEFT; !c[i]->was_sent;)
				step(&p, &left);
			peer_say(&p, "+OK\r\n");
			host_wait(x, &c[i]->ended);
			assert_string_equal(c[i]->error, "");
		}
		call_free(c[i]);
	}
	if (p.ssl)
		peer_close(&p);
	host_turn(x);
}

/* A polite end: close_notify.  The next link resumes the session; an alert is told by its name. */
static void ends(void **state)
{
	struct call *c;
	struct peer p;

	(void)state;
	up(&p);
	c = get();
	peer_until(&p, GET_BYTES);
	SSL_shutdown(p.ssl);
	host_wait(x, &c->ended);
	assert_non_null(strstr(c->error, "the server closed the connection"));
	assert_int_equal(c->executed, PURSER_MAYBE_EXECUTED);
	call_free(c);
	peer_close(&p);
	up(&p);
	assert_int_equal(x->count[RESUMED], 1);
	assert_int_equal(SSL_session_reused(p.ssl), 1);
	/* Bytes that are not of TLS in the middle of it. */
	c = get();
	peer_until(&p, GET_BYTES);
	assert_int_equal(send(p.fd, "+OK\r\n+OK\r\n+OK\r\n", 15, 0), 15);
	host_wait(x, &c->ended);
	assert_int_equal(c->code, PURSER_E_TLS);
	assert_non_null(strstr(c->error, "TLS: "));
	call_free(c);
	peer_close(&p);
	/* Reset. */
	up(&p);
	c = get();
	peer_until(&p, GET_BYTES);
	setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
	close(p.fd);
	p.fd = -1;
	host_wait(x, &c->ended);
	assert_int_equal(c->executed, PURSER_MAYBE_EXECUTED);
	call_free(c);
	peer_close(&p);
}

/* We close: the server is told so, and is not left to guess. */
static void goodbye(void **state)
{
	struct peer p;
	int left = LEFT;

	up(&p);
	x->p->drain(x->cs);
	while (!p.ended)
		step(&p, &left);
	assert_int_equal(SSL_get_shutdown(p.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
	peer_close(&p);
	(void)state;
}

/* A reply larger than everything, to a client that takes its time. */
static void slow_reader(void **state)
{
	const size_t n = 8u << 20;
	char *big = malloc(n + 32);
	size_t head = (size_t)snprintf(big, 32, "$%zu\r\n", n), at = 0, k;
	struct call *c;
	struct peer p;

	(void)state;
	up(&p);
	memset(big + head, 'y', n);
	memcpy(big + head + n, "\r\n", 2);
	c = get();
	c->credit = 100000;
	peer_until(&p, GET_BYTES);
	for (int i = 0; !c->ended; i++) {
		assert_true(i < 50 * LEFT);
		ERR_clear_error();
		if (at < head + n + 2 && SSL_write_ex(p.ssl, big + at, head + n + 2 - at, &k))
			at += k;
		host_turn(x);
		if (c->stalled && i % 3 == 0) {
			c->stalled = false;
			c->credit += 100000;
			x->p->resume(x->cs, &c->c, PURSER_RESUME_REPLY);
			x->touched = true;
		}
	}
	assert_true(c->ended);
	assert_int_equal(c->reply_n, head + n + 2);
	assert_memory_equal(c->reply, big, head + n + 2);
	call_free(c);
	free(big);
	peer_close(&p);
	host_turn(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(records, begin, finish),
		cmocka_unit_test_setup_teardown(keys_updated, begin, finish),
		cmocka_unit_test_setup_teardown(cut, begin, finish),
		cmocka_unit_test_setup_teardown(ends, begin, finish),
		cmocka_unit_test_setup_teardown(goodbye, begin, finish),
		cmocka_unit_test_setup_teardown(slow_reader, begin, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
