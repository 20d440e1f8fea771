/* SPDX-License-Identifier: Apache-2.0
 *
 * See tls.h.  OpenSSL keeps its errors in a queue of the thread, and what it finds there decides what
 * it says of the next failure: each call into it begins with an empty queue.
 */
#define _GNU_SOURCE
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define HANDSHAKE_FIRST 0x14 /* a record of TLS begins with 0x14 .. 0x17 */
#define HANDSHAKE_LAST 0x17
#define NAME_SHOWN 48

struct tls {
	atomic_uint refs;
	SSL_CTX *ctx;
	BIO_METHOD *bio;
	char name[256];        /* what the certificate must be for; no dot at the end */
	bool address;          /* ... an IP address */
	bool ca_file, cert;    /* is set */
	atomic_bool no_resume; /* the server fails where it should only decline */
	pthread_mutex_t lock;  /* of what follows */
	SSL_SESSION *session;  /* from the last ticket; nobody else holds it */
};

struct tls_link {
	SSL *ssl;
	struct tls *tls;
	int fd;
	int error;             /* errno of the socket */
	bool eof, up, failed;
	bool seen, alien;      /* the first byte came; it is not TLS */
	bool asked;            /* the server asked for the certificate that we do not have */
	bool offered;          /* a session to be resumed */
	bool read_waits, write_waits; /* reading waits for room to write, writing for bytes to read */
	int verify, depth;     /* the first thing wrong with the server's certificate */
	char subject[NAME_SHOWN], expiry[16];
	char why[WHY_MAX], version[24];
};

/* ---- the socket ------------------------------------------------------------------------------------ */

/* OpenSSL's own would raise SIGPIPE, and would not say afterwards what the socket said. */

static int io_write(BIO *b, const char *p, int n)
{
	struct tls_link *t = BIO_get_data(b);
	ssize_t k;

	BIO_clear_retry_flags(b);
	do
		k = send(t->fd, p, (size_t)n, MSG_NOSIGNAL);
	while (k < 0 && errno == EINTR);
	if (k < 0 && errno == EAGAIN)
		BIO_set_retry_write(b);
	else if (k < 0)
		t->error = errno;
	return (int)k;
}

static int io_read(BIO *b, char *p, int n)
{
	struct tls_link *t = BIO_get_data(b);
	ssize_t k;

	BIO_clear_retry_flags(b);
	do
		k = recv(t->fd, p, (size_t)n, 0);
	while (k < 0 && errno == EINTR);
	if (k < 0 && errno == EAGAIN)
		BIO_set_retry_read(b);
	else if (k < 0)
		t->error = errno;
	else if (k == 0)
		t->eof = true;
	if (k > 0 && !t->seen) {
		t->seen = true;
		t->alien = *p < HANDSHAKE_FIRST || *p > HANDSHAKE_LAST;
	}
	return (int)k;
}

static long io_ctrl(BIO *b, int what, long n, void *p)
{
	const struct tls_link *t = BIO_get_data(b);

	(void)n;
	(void)p;
	if (what == BIO_CTRL_FLUSH)
		return 1;
	return what == BIO_CTRL_EOF && t->eof;
}

static BIO_METHOD *io_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "purser");

	if (m && BIO_meth_set_write(m, io_write) && BIO_meth_set_read(m, io_read) &&
	    BIO_meth_set_ctrl(m, io_ctrl))
		return m;
	BIO_meth_free(m);
	return NULL;
}

/* ---- what OpenSSL asks ----------------------------------------------------------------------------- */

/* A ticket.  What SSL_SESSION the connection has changes as it goes on, and is spoiled when it ends
 * badly: keep a copy. */
static int on_session(SSL *ssl, SSL_SESSION *s)
{
	struct tls *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	SSL_SESSION *copy = SSL_SESSION_dup(s), *old;

	if (!copy)
		return 0;
	pthread_mutex_lock(&t->lock);
	old = t->session;
	t->session = copy;
	pthread_mutex_unlock(&t->lock);
	SSL_SESSION_free(old);
	return 0;
}

/* Only called where we have no certificate. */
static int on_asked(SSL *ssl, X509 **cert, EVP_PKEY **key)
{
	struct tls_link *t = SSL_get_app_data(ssl);

	(void)cert;
	(void)key;
	t->asked = true;
	return 0;
}

/* Text of a certificate for people. */
static void show(char *dst, size_t cap, const void *p, int n)
{
	size_t at = 0;

	for (const unsigned char *c = p; n > 0 && at + 1 < cap; c++, n--)
		dst[at++] = *c > ' ' && *c <= '~' ? (char)*c : '.';
	dst[at] = '\0';
}

/* One name that a certificate is for. */
static void show_name(char *dst, size_t cap, X509 *cert)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	char text[INET6_ADDRSTRLEN];

	*dst = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !*dst; i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
		const ASN1_STRING *s = g->type == GEN_DNS ? g->d.dNSName : g->type == GEN_IPADD ?
		    g->d.iPAddress : NULL;
		int n = s ? ASN1_STRING_length(s) : 0;

		if (g->type == GEN_DNS)
			show(dst, cap, ASN1_STRING_get0_data(s), n);
		else if ((n == 4 || n == 16) && inet_ntop(n == 4 ? AF_INET : AF_INET6,
		    ASN1_STRING_get0_data(s), text, sizeof(text)))
			show(dst, cap, text, (int)strlen(text));
	}
	GENERAL_NAMES_free(names);
	if (!*dst) {
		char cn[NAME_SHOWN];
		int n = X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof(cn));

		show(dst, cap, cn, n > 0 ? n : 0);
	}
	if (!*dst)
		snprintf(dst, cap, "nobody");
}

static void show_day(char *dst, size_t cap, const ASN1_TIME *when)
{
	struct tm tm;

	if (!ASN1_TIME_to_tm(when, &tm) || !strftime(dst, cap, "%Y-%m-%d", &tm))
		*dst = '\0';
}

static int on_verify(int ok, X509_STORE_CTX *s)
{
	struct tls_link *t = SSL_get_app_data(X509_STORE_CTX_get_ex_data(s,
	    SSL_get_ex_data_X509_STORE_CTX_idx()));
	X509 *cert = X509_STORE_CTX_get_current_cert(s);

	if (ok || t->verify != X509_V_OK)
		return ok;
	t->verify = X509_STORE_CTX_get_error(s);
	t->depth = X509_STORE_CTX_get_error_depth(s);
	if (cert) {
		show_name(t->subject, sizeof(t->subject), cert);
		show_day(t->expiry, sizeof(t->expiry), X509_get0_notAfter(cert));
	}
	return ok;
}

/* ---- made of settings and files -------------------------------------------------------------------- */

struct password { char secret[SECRET_MAX]; bool asked; };

/* Never the terminal, which is what OpenSSL would ask by itself. */
static int on_password(char *dst, int cap, int writing, void *arg)
{
	struct password *p = arg;
	size_t n = strlen(p->secret);

	(void)writing;
	p->asked = true;
	if (n == 0 || n > (size_t)cap)
		return -1;
	memcpy(dst, p->secret, n);
	return (int)n;
}

struct builder {
	struct instance *in;
	struct tls *t;
	char *err;
	size_t cap;
};

__attribute__((format(printf, 2, 3)))
static int wrong(const struct builder *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(b->err, b->cap, fmt, ap);
	va_end(ap);
	ERR_clear_error();
	return -1;
}

/* A setting that names a file or directory, and can it be read?  path[0] is NUL if it is not set. */
static int path_of(const struct builder *b, const char *key, char *path)
{
	int fd;

	if (text_setting(b->in, key, path, PATH_MAX_LEN, b->err, b->cap))
		return -1;
	if (!path[0])
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return wrong(b, "%s %.120s: %s", key, path, strerror(errno));
	close(fd);
	return 0;
}

static int trust(const struct builder *b)
{
	char file[PATH_MAX_LEN], dir[PATH_MAX_LEN];
	SSL_CTX *c = b->t->ctx;

	if (path_of(b, "tls_ca_file", file) || path_of(b, "tls_ca_dir", dir))
		return -1;
	b->t->ca_file = file[0] || dir[0];
	if (file[0] && !SSL_CTX_load_verify_file(c, file))
		return wrong(b, "tls_ca_file %.120s holds no certificate that can be read (PEM is needed)", file);
	if (dir[0] && !SSL_CTX_load_verify_dir(c, dir))
		return wrong(b, "tls_ca_dir %.120s cannot be used", dir);
	if (!b->t->ca_file && !SSL_CTX_set_default_verify_paths(c))
		return wrong(b, "the CA certificates of the system cannot be used: set tls_ca_file");
	/* What the operator names is trusted, be it the root or not. */
	X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(c), X509_V_FLAG_PARTIAL_CHAIN);
	return 0;
}

static int own_key(const struct builder *b, const char *path)
{
	struct password p = { .asked = false };
	char file[PATH_MAX_LEN];
	unsigned long e;
	int rc;

	if (text_setting(b->in, "tls_key_password_file", file, sizeof(file), b->err, b->cap))
		return -1;
	if (file[0] && secret_read("tls_key_password_file", file, p.secret, b->err, b->cap))
		return -1;
	SSL_CTX_set_default_passwd_cb(b->t->ctx, on_password);
	SSL_CTX_set_default_passwd_cb_userdata(b->t->ctx, &p);
	rc = SSL_CTX_use_PrivateKey_file(b->t->ctx, path, SSL_FILETYPE_PEM);
	e = ERR_peek_last_error();
	SSL_CTX_set_default_passwd_cb_userdata(b->t->ctx, NULL);
	SSL_CTX_set_default_passwd_cb(b->t->ctx, NULL);
	explicit_bzero(p.secret, sizeof(p.secret));
	if (rc == 1)
		return 0;
	if (ERR_GET_LIB(e) == ERR_LIB_X509 && (ERR_GET_REASON(e) == X509_R_KEY_VALUES_MISMATCH ||
	    ERR_GET_REASON(e) == X509_R_KEY_TYPE_MISMATCH))
		return wrong(b, "tls_key_file %.120s is not the key of tls_cert_file", path);
	if (p.asked)
		return wrong(b, file[0] ? "tls_key_file %.100s does not open with the password in "
		    "tls_key_password_file" : "tls_key_file %.100s is encrypted: set tls_key_password_file", path);
	return wrong(b, "tls_key_file %.120s holds no private key that can be read (PEM is needed)", path);
}

static int own_certificate(const struct builder *b)
{
	char cert[PATH_MAX_LEN], key[PATH_MAX_LEN];
	const ASN1_TIME *until;
	SSL_CTX *c = b->t->ctx;
	char day[16];

	if (path_of(b, "tls_cert_file", cert) || path_of(b, "tls_key_file", key))
		return -1;
	if (!cert[0] != !key[0])
		return wrong(b, "%s is set and %s is not: both or neither", cert[0] ? "tls_cert_file" :
		    "tls_key_file", cert[0] ? "tls_key_file" : "tls_cert_file");
	if (!cert[0]) {
		SSL_CTX_set_client_cert_cb(c, on_asked);
		return 0;
	}
	if (SSL_CTX_use_certificate_chain_file(c, cert) != 1)
		return wrong(b, "tls_cert_file %.120s holds no certificate that can be read (PEM is needed)",
		    cert);
	if (own_key(b, key))
		return -1;
	b->t->cert = true;
	until = X509_get0_notAfter(SSL_CTX_get0_certificate(c));
	if (X509_cmp_current_time(until) > 0)
		return 0;
	show_day(day, sizeof(day), until);
	if (b->in->tls) /* a reload: what we have may be better */
		return wrong(b, "tls_cert_file %.120s expired on %s: renew it", cert, day);
	b->in->h->log(b->in->i, PURSER_LOG_WARN, "tls_cert_file %s expired on %s: renew it, and reload", cert,
	    day);
	return 0;
}

static int names(const struct builder *b)
{
	struct tls *t = b->t;
	unsigned char address[sizeof(struct in6_addr)];
	size_t n;

	if (text_setting(b->in, "tls_server_name", t->name, sizeof(t->name), b->err, b->cap))
		return -1;
	if (!t->name[0])
		snprintf(t->name, sizeof(t->name), "%s", b->in->url.host);
	n = strlen(t->name);
	if (n > 1 && t->name[n - 1] == '.')
		t->name[n - 1] = '\0';
	t->address = inet_pton(AF_INET, t->name, address) == 1 || inet_pton(AF_INET6, t->name, address) == 1;
	return 0;
}

static int build(const struct builder *b)
{
	const purser_host *h = b->in->h;
	struct tls *t = b->t;
	bool verify = h->value(b->in->i, "tls_verify") != 0;

	t->bio = io_method();
	t->ctx = SSL_CTX_new(TLS_client_method());
	if (!t->bio || !t->ctx)
		return wrong(b, "TLS cannot be set up: out of memory");
	SSL_CTX_set_app_data(t->ctx, t);
	SSL_CTX_set_min_proto_version(t->ctx, h->value(b->in->i, "tls_min_version") ? TLS1_3_VERSION :
	    TLS1_2_VERSION);
	/* The length of every reply is known, so a server that just closes can hide nothing. */
	SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
	    SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(t->ctx, 1);
	SSL_CTX_set_default_read_buffer_len(t->ctx, READ_MAX);
	SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(t->ctx, on_session);
	SSL_CTX_set_verify(t->ctx, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, verify ? on_verify : NULL);
	if (names(b) || trust(b) || own_certificate(b))
		return -1;
	if (!verify)
		h->log(b->in->i, PURSER_LOG_WARN, "tls_verify = no: the server at %s may be anybody, and whoever is "
		    "in between can read and change everything: set tls_ca_file instead", b->in->url.host);
	ERR_clear_error();
	return 0;
}

/* Settings of TLS without TLS would be believed to protect. */
static int unused(const struct builder *b)
{
	static const char *const keys[] = { "tls_ca_file", "tls_ca_dir", "tls_cert_file", "tls_key_file",
		"tls_key_password_file", "tls_server_name" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (b->in->h->text(b->in->i, keys[i]).n)
			return wrong(b, "%s is set, but url does not ask for TLS: it must begin with rediss://",
			    keys[i]);
	return 0;
}

int tls_new(struct instance *in, struct tls **out, char *err, size_t cap)
{
	struct builder b = { in, NULL, err, cap };

	*out = NULL;
	if (!in->url.tls)
		return unused(&b);
	b.t = calloc(1, sizeof(*b.t));
	if (!b.t)
		return wrong(&b, "out of memory");
	atomic_init(&b.t->refs, 1);
	pthread_mutex_init(&b.t->lock, NULL);
	if (build(&b)) {
		tls_unref(b.t);
		return -1;
	}
	*out = b.t;
	return 0;
}

void tls_unref(struct tls *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	SSL_SESSION_free(t->session);
	SSL_CTX_free(t->ctx);
	BIO_meth_free(t->bio);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* ---- why it failed --------------------------------------------------------------------------------- */

static void why_certificate(struct tls_link *t)
{
	const char *whose = t->depth ? "a CA certificate of the server" : "the server's certificate";

	switch (t->verify) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		snprintf(t->why, sizeof(t->why), "TLS: %s (%s) expired on %s: renew it on the server", whose,
		    t->subject, t->expiry);
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		snprintf(t->why, sizeof(t->why), "TLS: %s (%s) is not valid yet: compare the clocks", whose,
		    t->subject);
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT: case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT: case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		snprintf(t->why, sizeof(t->why), "TLS: the server's certificate is from an unknown CA: %s",
		    t->tls->ca_file ? "tls_ca_file (or tls_ca_dir) must hold the CA that signed it" :
		    "set tls_ca_file to the certificate of its CA");
		break;
	case X509_V_ERR_HOSTNAME_MISMATCH: case X509_V_ERR_IP_ADDRESS_MISMATCH:
		snprintf(t->why, sizeof(t->why), "TLS: the server's certificate is for %s and not for %.48s: set "
		    "tls_server_name, or renew it", t->subject, t->tls->name);
		break;
	default:
		snprintf(t->why, sizeof(t->why), "TLS: %s (%s) cannot be accepted: %s", whose, t->subject,
		    X509_verify_cert_error_string(t->verify));
	}
}

static const char why_no_certificate[] =
	"TLS: the server wants a client certificate: set tls_cert_file and tls_key_file";

/* An alert of the server, or what OpenSSL found wrong by itself. */
static void why_reason(struct tls_link *t, unsigned long e)
{
	const char *text = ERR_reason_error_string(e);

	switch (ERR_GET_LIB(e) == ERR_LIB_SSL ? ERR_GET_REASON(e) : 0) {
	case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
		snprintf(t->why, sizeof(t->why), "%s", why_no_certificate);
		break;
	case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
		snprintf(t->why, sizeof(t->why), "TLS: the server refuses the handshake: see its log (no cipher in "
		    "common, or a client certificate that it does not take)");
		break;
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE: case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED: case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN: case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
	case SSL_R_TLSV1_ALERT_ACCESS_DENIED: case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
		/* OpenSSL: "sslv3 alert bad certificate" */
		if (strstr(text, "alert "))
			text = strstr(text, "alert ") + 6;
		snprintf(t->why, sizeof(t->why), "TLS: the server refuses our certificate (%s): renew "
		    "tls_cert_file, or make its CA known to the server", text);
		break;
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION: case SSL_R_UNSUPPORTED_PROTOCOL:
		snprintf(t->why, sizeof(t->why), "TLS: the server does not speak a version of TLS that "
		    "tls_min_version allows");
		break;
	default:
		snprintf(t->why, sizeof(t->why), "TLS: %s", text ? text : "the handshake failed");
	}
}

/* The call that has just failed has left its reasons; keep what people need. */
static void explain(struct link *l)
{
	struct tls_link *t = l->tls;
	unsigned long e = ERR_peek_error();

	t->failed = true;
	if (t->why[0])
		return;
	if (t->verify != X509_V_OK && !t->up)
		why_certificate(t);
	else if (t->alien)
		snprintf(t->why, sizeof(t->why), "TLS: what answers there does not speak TLS: is this the server's "
		    "tls-port? If TLS is not wanted: redis://");
	else if (t->asked && l->phase != LINK_UP && ERR_GET_LIB(e) == ERR_LIB_SSL)
		snprintf(t->why, sizeof(t->why), "%s", why_no_certificate);
	else if (e && ERR_GET_LIB(e) != ERR_LIB_SYS) /* even if writing has failed before */
		why_reason(t, e);
	else if (!t->up)
		snprintf(t->why, sizeof(t->why), "TLS: %s during the handshake", t->error ? strerror(t->error) :
		    "the server closed the connection");
	ERR_clear_error();
}

const char *tls_told(const struct link *l)
{
	const struct tls_link *t = l->tls;

	if (t->why[0])
		return t->why;
	/* TLS 1.3 is up for us before the server has looked for our certificate; a server that closes
	 * in a hurry does not say why. */
	return t->asked && l->phase == LINK_HELLO ? "TLS: the server asked for a client certificate and closed "
	    "the connection: set tls_cert_file and tls_key_file" : NULL;
}

const char *tls_version(const struct link *l)
{
	return l->tls->version;
}

/* ---- a connection ---------------------------------------------------------------------------------- */

/* The handshake failed after a session was offered, which is forgotten.  True: it failed by an alert, so
 * this is a server that cannot decline one (redis with tls-session-caching no): none is offered any more,
 * and without it the same handshake may succeed. */
static bool without_session(struct tls_link *t)
{
	SSL_SESSION *s;

	if (!t->offered)
		return false;
	pthread_mutex_lock(&t->tls->lock);
	s = t->tls->session;
	t->tls->session = NULL;
	pthread_mutex_unlock(&t->tls->lock);
	SSL_SESSION_free(s);
	if (t->error || t->eof || t->verify != X509_V_OK)
		return false;
	atomic_store(&t->tls->no_resume, true);
	return true;
}

static void shake(struct link *l)
{
	struct tls_link *t = l->tls;
	int rc, err;

	ERR_clear_error();
	rc = SSL_do_handshake(t->ssl);
	if (rc == 1) {
		t->up = true;
		snprintf(t->version, sizeof(t->version), "%s%s", SSL_get_version(t->ssl),
		    SSL_session_reused(t->ssl) ? ", resumed" : "");
		l->x->h->count(l->x->x, COUNT_TLS, 1);
		if (SSL_session_reused(t->ssl))
			l->x->h->count(l->x->x, COUNT_TLS_RESUMED, 1);
		link_greet(l);
		return;
	}
	err = SSL_get_error(t->ssl, rc);
	if (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE)
		return; /* both are watched */
	explain(l);
	if (without_session(t)) {
		link_shut(l);
		link_open(l);
	} else {
		link_lost(l, PURSER_E_TLS, "%s", t->why);
	}
}

static void offer_session(struct tls_link *t)
{
	SSL_SESSION *s = NULL;

	if (atomic_load(&t->tls->no_resume))
		return;
	pthread_mutex_lock(&t->tls->lock);
	if (t->tls->session && SSL_SESSION_is_resumable(t->tls->session))
		s = SSL_SESSION_dup(t->tls->session);
	pthread_mutex_unlock(&t->tls->lock);
	t->offered = s && SSL_set_session(t->ssl, s) == 1;
	SSL_SESSION_free(s);
}

static int tls_link_new(struct link *l)
{
	struct instance *in = l->x->in;
	struct tls_link *t = calloc(1, sizeof(*t));
	X509_VERIFY_PARAM *want;
	BIO *io;

	if (!t)
		return -1;
	l->tls = t;
	t->fd = l->fd;
	pthread_mutex_lock(&in->lock);
	t->tls = in->tls;
	atomic_fetch_add(&t->tls->refs, 1);
	pthread_mutex_unlock(&in->lock);
	ERR_clear_error();
	t->ssl = SSL_new(t->tls->ctx);
	io = t->ssl ? BIO_new(t->tls->bio) : NULL;
	if (!io)
		return -1;
	BIO_set_data(io, t);
	BIO_set_init(io, 1);
	SSL_set_bio(t->ssl, io, io);
	SSL_set_app_data(t->ssl, t);
	SSL_set_connect_state(t->ssl);
	want = SSL_get0_param(t->ssl);
	X509_VERIFY_PARAM_set_hostflags(want, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (t->tls->address ? !X509_VERIFY_PARAM_set1_ip_asc(want, t->tls->name) :
	    !X509_VERIFY_PARAM_set1_host(want, t->tls->name, 0) ||
	    !SSL_set_tlsext_host_name(t->ssl, t->tls->name))
		return -1;
	offer_session(t);
	return 0;
}

void tls_begin(struct link *l)
{
	if (tls_link_new(l))
		link_lost(l, PURSER_E_NOMEM, "out of memory");
	else
		shake(l);
}

uint32_t tls_event(struct link *l, uint32_t events)
{
	const struct tls_link *t = l->tls;

	if (l->phase == LINK_TLS) {
		shake(l);
		return 0;
	}
	if ((events & PURSER_IO_OUT) && t->read_waits)
		events |= PURSER_IO_IN;
	if ((events & PURSER_IO_IN) && t->write_waits)
		events |= PURSER_IO_OUT;
	return events;
}

ssize_t tls_send(struct link *l, const void *p, size_t n)
{
	struct tls_link *t = l->tls;
	size_t at = 0, k;
	int err = 0;

	t->write_waits = false;
	while (at < n && !t->failed && !t->error) {
		ERR_clear_error();
		if (SSL_write_ex(t->ssl, (const char *)p + at, n - at, &k)) {
			at += k;
			continue;
		}
		err = SSL_get_error(t->ssl, 0);
		if (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE) {
			t->write_waits = err == SSL_ERROR_WANT_READ;
			errno = EAGAIN;
			return at ? (ssize_t)at : -1;
		}
		/* The socket refuses: why, an alert that waits to be read may tell. */
		if (err != SSL_ERROR_SYSCALL || !t->error)
			explain(l);
	}
	if (at == n)
		return (ssize_t)n;
	l->hup = true; /* no edge need follow */
	errno = t->error ? t->error : EPIPE;
	return at ? (ssize_t)at : -1;
}

ssize_t tls_recv(struct link *l, void *p, size_t n)
{
	struct tls_link *t = l->tls;
	size_t at = 0, k;
	int err;

	t->read_waits = false;
	while (at < n && !t->failed) {
		ERR_clear_error();
		if (SSL_read_ex(t->ssl, (char *)p + at, n - at, &k)) {
			at += k;
			continue;
		}
		err = SSL_get_error(t->ssl, 0);
		if (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE) {
			t->read_waits = err == SSL_ERROR_WANT_WRITE;
			errno = EAGAIN;
			return at ? (ssize_t)at : -1;
		}
		if (err == SSL_ERROR_ZERO_RETURN) {
			t->eof = true;
			break;
		}
		explain(l);
	}
	if (at < n)
		l->hup = true; /* the rest is told by the next one, and no edge need follow */
	if (at || (t->eof && !t->error && !t->why[0]))
		return (ssize_t)at;
	errno = t->error ? t->error : EPROTO;
	return -1;
}

void tls_end(struct link *l)
{
	struct tls_link *t = l->tls;

	l->tls = NULL;
	ERR_clear_error();
	if (t->ssl && t->up && !t->failed && !t->error)
		SSL_shutdown(t->ssl); /* if it goes; nobody waits for the answer */
	if (t->ssl)
		SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(t->ssl);
	ERR_clear_error();
	tls_unref(t->tls);
	free(t);
}
