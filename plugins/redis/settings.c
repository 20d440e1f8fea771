/* SPDX-License-Identifier: Apache-2.0
 *
 * settings: one [backend NAME] with plugin = redis: the schema, the checked settings, the password.
 */
#define _GNU_SOURCE
#include "redis.h"
#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const purser_key redis_keys[REDIS_NKEYS] = {
	{ "url", PURSER_KEY_URL, 0, 0, 0, "redis://127.0.0.1:6379/0", "redis|rediss|unix",
	  "The server: redis://[user[:password]@]host[:port][/db], the same with rediss:// for TLS, or "
	  "unix:///path[?db=N]; the password is better kept in password_file." },
	{ "user", PURSER_KEY_TEXT, 0, 0, 0, NULL, NULL,
	  "ACL user of the server. Not set: the one in url, else its default user." },
	{ "password_file", PURSER_KEY_PATH, PURSER_KEY_RELOADABLE, 0, 0, NULL, NULL,
	  "File with the password, one line; read again at each reload, and when the server refuses the "
	  "password." },
	{ "tls_ca_file", PURSER_KEY_PATH, PURSER_KEY_RELOADABLE | PURSER_KEY_PUBLIC, 0, 0, NULL, NULL,
	  "With rediss://: certificates (PEM) of the CAs that may have signed the server's. Neither this nor "
	  "tls_ca_dir set: the system's. All files of TLS are read again at each reload; new connections "
	  "use what is new." },
	{ "tls_ca_dir", PURSER_KEY_PATH, PURSER_KEY_RELOADABLE, 0, 0, NULL, NULL,
	  "Directory of such certificates, made ready by openssl rehash." },
	{ "tls_cert_file", PURSER_KEY_PATH, PURSER_KEY_RELOADABLE | PURSER_KEY_PUBLIC, 0, 0, NULL, NULL,
	  "Our own certificate (PEM), and behind it those between it and its CA, where the server asks for "
	  "one." },
	{ "tls_key_file", PURSER_KEY_PATH, PURSER_KEY_RELOADABLE, 0, 0, NULL, NULL,
	  "Its private key (PEM)." },
	{ "tls_key_password_file", PURSER_KEY_PATH, PURSER_KEY_RELOADABLE, 0, 0, NULL, NULL,
	  "File with the password of an encrypted tls_key_file, one line." },
	{ "tls_server_name", PURSER_KEY_TEXT, PURSER_KEY_RELOADABLE, 0, 0, NULL, NULL,
	  "Name or IP address that the server's certificate must be for. Not set: the host in url." },
	{ "tls_min_version", PURSER_KEY_ENUM, PURSER_KEY_RELOADABLE, 0, 0, "1.2", "1.2|1.3",
	  "The oldest version of TLS that is spoken." },
	{ "tls_verify", PURSER_KEY_BOOL, PURSER_KEY_RELOADABLE, 0, 0, "yes", NULL,
	  "no: any certificate will do, so whoever is in between can read and change everything." },
	{ "database", PURSER_KEY_INT, 0, 0, UINT16_MAX, NULL, NULL,
	  "Database number in place of the one in url; database 0 of a project is this one." },
	{ "client_name", PURSER_KEY_TEXT, 0, 0, 0, "purser", NULL,
	  "What CLIENT LIST of the server shows as our name." },
	{ "pool_min", PURSER_KEY_INT, 0, 0, 10000, "10", NULL,
	  "Connections of their own (for transactions with WATCH and streamed values) that are kept ready, "
	  "all workers together, from a client's first command on; not more than pool_max." },
	{ "pool_max", PURSER_KEY_INT, 0, 1, 10000, "50", NULL,
	  "The most connections of their own, all workers together; stateless commands share a lane and "
	  "need none." },
	{ "blocking_max", PURSER_KEY_INT, 0, 0, 100000, "1000", NULL,
	  "The most connections for blocking commands, apart from pool_max." },
	{ "idle_timeout", PURSER_KEY_DURATION, 0, INT64_C(1000000), INT64_C(86400000000000), "1m", NULL,
	  "A connection of its own that nobody has used for so long is closed, if more than pool_min are open." },
	{ "max_lifetime", PURSER_KEY_DURATION, 0, 0, INT64_C(2592000000000000), "1h", NULL,
	  "A connection that is older is replaced as soon as nothing is under way on it, up to a tenth "
	  "earlier so that not all are at once; 0s: never." },
	{ "ping_interval", PURSER_KEY_DURATION, 0, 0, INT64_C(86400000000000), "30s", NULL,
	  "A connection that has been idle for so long is asked with PING whether it lives; 0s: never." },
	{ "reconnect_base", PURSER_KEY_DURATION, 0, INT64_C(1000000), INT64_C(60000000000), "20ms", NULL,
	  "A new connection attempt waits a random time up to this, doubled with each failure." },
	{ "reconnect_cap", PURSER_KEY_DURATION, 0, INT64_C(1000000), INT64_C(600000000000), "500ms", NULL,
	  "The longest such wait." },
	{ "eviction", PURSER_KEY_ENUM, 0, 0, 0, NULL,
	  "noeviction|allkeys-lru|allkeys-lfu|allkeys-random|volatile-lru|volatile-lfu|volatile-random|"
	  "volatile-ttl",
	  "The maxmemory-policy that the server should have; a different one is a warning." },
	{ "apply_server_settings", PURSER_KEY_BOOL, 0, 0, 0, "no", NULL,
	  "Set max_memory and eviction on the server with CONFIG SET." },
};

void instance_ref(struct instance *in)
{
	atomic_fetch_add(&in->refs, 1);
}

void instance_unref(struct instance *in)
{
	if (atomic_fetch_sub(&in->refs, 1) != 1)
		return;
	pthread_mutex_destroy(&in->lock);
	tls_unref(in->tls);
	instance_adopt(in, false);
	cred_free(in);
	explicit_bzero(in, sizeof(*in));
	free(in);
}

static int refuse(purser_error *e, const char *text)
{
	snprintf(e->text, sizeof(e->text), "%s", text);
	return -1;
}

int text_setting(struct instance *in, const char *key, char *dst, size_t cap, char *err, size_t ecap)
{
	purser_bytes b = in->h->text(in->i, key);

	if (b.n >= cap) {
		snprintf(err, ecap, "%s is longer than %zu bytes", key, cap - 1);
		return -1;
	}
	if (b.n)
		memcpy(dst, b.p, b.n);
	dst[b.n] = '\0';
	return 0;
}

int secret_read(const char *what, const char *path, char *secret, char *err, size_t cap)
{
	char text[SECRET_MAX + 2];
	size_t n = 0;
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0) {
		snprintf(err, cap, "%s %s: %s", what, path, strerror(errno));
		return -1;
	}
	while (n < sizeof(text) && (got = read(fd, text + n, sizeof(text) - n)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			snprintf(err, cap, "%s %s: %s", what, path, strerror(errno));
			explicit_bzero(text, sizeof(text));
			close(fd);
			return -1;
		}
		n += (size_t)got;
	}
	close(fd);
	if (n && text[n - 1] == '\n')
		n--;
	if (n && text[n - 1] == '\r')
		n--;
	if (n == 0 || n >= SECRET_MAX || memchr(text, '\0', n) || memchr(text, '\n', n)) {
		snprintf(err, cap, "%s %s must hold one line of 1 to %u bytes", what, path, SECRET_MAX - 1);
		explicit_bzero(text, sizeof(text));
		return -1;
	}
	memset(secret, 0, SECRET_MAX);
	memcpy(secret, text, n);
	explicit_bzero(text, sizeof(text));
	return 0;
}

int instance_read_secret(struct instance *in, char *err, size_t cap)
{
	char secret[SECRET_MAX], path[PATH_MAX_LEN];

	pthread_mutex_lock(&in->lock);
	memcpy(path, in->password_file, sizeof(path));
	pthread_mutex_unlock(&in->lock);
	if (!path[0])
		return 0; /* a reload has just taken it away */
	if (secret_read("password_file", path, secret, err, cap))
		return -1;
	pthread_mutex_lock(&in->lock);
	if (strcmp(path, in->password_file) == 0)
		memcpy(in->secret, secret, sizeof(secret));
	pthread_mutex_unlock(&in->lock);
	explicit_bzero(secret, sizeof(secret));
	return 0;
}

/* The address, if it needs no name service, and how people see it. */
static void settle_address(struct instance *in)
{
	const struct url *u = &in->url;
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM }, *found = NULL;
	char port[8];

	if (u->path[0]) {
		struct sockaddr_un *sun = (struct sockaddr_un *)&in->address;

		sun->sun_family = AF_UNIX;
		memcpy(sun->sun_path, u->path, strlen(u->path) + 1);
		in->address_len = sizeof(*sun);
		snprintf(in->where, sizeof(in->where), "%s", u->path);
		in->endpoint = in->h->endpoint(in->i, u->path, 0, "unix");
		return;
	}
	snprintf(port, sizeof(port), "%u", u->port);
	if (getaddrinfo(u->host, port, &hints, &found) == 0) {
		memcpy(&in->address, found->ai_addr, found->ai_addrlen);
		in->address_len = found->ai_addrlen;
		freeaddrinfo(found);
	}
	snprintf(in->where, sizeof(in->where), strchr(u->host, ':') ? "[%s]:%u" : "%s:%u", u->host,
	    u->port);
	in->endpoint = in->h->endpoint(in->i, u->host, u->port, "tcp");
}

static int read_url(struct instance *in, purser_error *e)
{
	purser_bytes b = in->h->text(in->i, "url");
	purser_bytes db = in->h->text(in->i, "database");
	char user[sizeof(in->url.user)];

	if (!b.n)
		return refuse(e, "url is missing, as in url = redis://127.0.0.1:6379/0");
	if (url_parse((const char *)b.p, &in->url, e->text, sizeof(e->text)))
		return -1;
	if (text_setting(in, "user", user, sizeof(user), e->text, sizeof(e->text)))
		return -1;
	if (user[0] && in->url.user[0] && strcmp(user, in->url.user) != 0)
		return refuse(e, "user and the user in url differ: keep one of them");
	if (user[0])
		memcpy(in->url.user, user, sizeof(user));
	if (db.n) {
		int64_t v = in->h->value(in->i, "database");

		if (in->url.has_db && in->url.db != v)
			return refuse(e, "database and the number in url differ: keep one of them");
		in->url.db = (uint16_t)v;
	}
	in->url_secret = in->url.secret[0] != '\0';
	memcpy(in->secret, in->url.secret, sizeof(in->secret));
	explicit_bzero(in->url.secret, sizeof(in->url.secret));
	return 0;
}

static int read_settings(struct instance *in, purser_error *e)
{
	const purser_host *h = in->h;

	if (text_setting(in, "client_name", in->client_name, sizeof(in->client_name), e->text,
	        sizeof(e->text)) ||
	    text_setting(in, "eviction", in->eviction, sizeof(in->eviction), e->text, sizeof(e->text)) ||
	    read_url(in, e))
		return -1;
	for (const char *c = in->client_name; *c; c++)
		if (*c <= ' ' || *c > '~')
			return refuse(e, "client_name may not hold blanks or special characters");
	in->base_ns = (uint64_t)h->value(in->i, "reconnect_base");
	in->cap_ns = (uint64_t)h->value(in->i, "reconnect_cap");
	in->limit[DEDICATED_POOL] = (unsigned)h->value(in->i, "pool_max");
	in->limit[DEDICATED_BLOCKING] = (unsigned)h->value(in->i, "blocking_max");
	in->pool_min = (unsigned)h->value(in->i, "pool_min");
	in->idle_ns = (uint64_t)h->value(in->i, "idle_timeout");
	in->life_ns = (uint64_t)h->value(in->i, "max_lifetime");
	in->ping_ns = (uint64_t)h->value(in->i, "ping_interval");
	in->apply = h->value(in->i, "apply_server_settings") != 0;
	if (in->pool_min > in->limit[DEDICATED_POOL])
		in->pool_min = in->limit[DEDICATED_POOL];
	if (in->cap_ns < in->base_ns)
		return refuse(e, "reconnect_cap is smaller than reconnect_base");
	return 0;
}

int instance_new(const purser_host *h, purser_instance *i, struct instance **out, purser_error *e)
{
	struct instance *in = calloc(1, sizeof(*in));

	if (!in)
		return refuse(e, "out of memory");
	in->h = h;
	in->i = i;
	atomic_init(&in->refs, 1);
	pthread_mutex_init(&in->lock, NULL);
	if (read_settings(in, e) || instance_prepare(in, e)) {
		instance_unref(in);
		return -1;
	}
	instance_adopt(in, true);
	settle_address(in);
	*out = in;
	return 0;
}

/* The server's maxmemory-policy, as INFO says it. */
void instance_tell_policy(struct instance *in, const char *policy, size_t n)
{
	bool differs = n != strlen(in->eviction) || memcmp(policy, in->eviction, n) != 0, tell;

	pthread_mutex_lock(&in->lock);
	tell = differs && !in->eviction_told;
	in->eviction_told = differs;
	pthread_mutex_unlock(&in->lock);
	if (tell)
		in->h->log(in->i, PURSER_LOG_WARN, "the server at %s evicts by %.*s, eviction says %s%s",
		    in->where, (int)n, policy, in->eviction,
		    in->apply ? "" : " (apply_server_settings = yes would change it)");
}
