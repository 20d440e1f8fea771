/* SPDX-License-Identifier: Apache-2.0 */
/* purserctl: the agent at the socket. */
#include <config.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "config/cfg.h"
#include "ctl.h"

#define SYSTEM_SOCKET "/run/purser/purser.sock"

int ctl_fail(struct ctl *x, int status, const char *fmt, ...)
{
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	fprintf(stderr, "purserctl: %s\n", text);
	if (x->json && status >= CTL_CONNECT)
		print_json(json_pack("{s:{s:s,s:i}}", "error", "message", text, "status", status));
	return status;
}

/* Why there is no connection, and what to do about it. */
static int not_connected(struct ctl *x, int error)
{
	bool other = !x->socket_given && strcmp(x->socket, SYSTEM_SOCKET) != 0 &&
	    access(SYSTEM_SOCKET, F_OK) == 0;

	switch (error) {
	case ENOENT: case ENOTDIR:
		return ctl_fail(x, CTL_CONNECT, "no agent at %s: start it (purserd, or systemctl start purserd)"
		    "%s", x->socket, other ? "; one is at " SYSTEM_SOCKET ": purserctl -s " SYSTEM_SOCKET :
		    ", or name its socket with --socket PATH");
	case ECONNREFUSED:
		return ctl_fail(x, CTL_CONNECT, "nobody listens at %s: the agent that made it is gone; start it "
		    "again (purserd, or systemctl start purserd)", x->socket);
	case EACCES: case EPERM:
		return ctl_fail(x, CTL_CONNECT, "%s: permission denied: join the group of the socket, or see "
		    "socket_mode and socket_group of [agent]", x->socket);
	case EAGAIN: case ETIMEDOUT:
		return ctl_fail(x, CTL_CONNECT, "%s: the agent takes no connection: it is overloaded or stopped",
		    x->socket);
	default:
		return ctl_fail(x, CTL_CONNECT, "%s: %s", x->socket, strerror(error));
	}
}

static int lost(struct ctl *x)
{
	int error = errno;

	if (x->c->err == REDIS_ERR_IO && (error == EAGAIN || error == ETIMEDOUT))
		return ctl_fail(x, CTL_CONNECT, "no answer from the agent at %s within %ld.%03ld s: raise "
		    "--timeout, or see purserctl health", x->socket, (long)x->timeout.tv_sec,
		    (long)x->timeout.tv_usec / 1000);
	return ctl_fail(x, CTL_CONNECT, "the connection to the agent at %s broke: %s", x->socket,
	    x->c->err == REDIS_ERR_IO ? strerror(error) : x->c->errstr);
}

/* NULL and *error, or a connection. */
static redisContext *dial(struct ctl *x, int *error)
{
	redisContext *c;

	errno = 0;
	c = redisConnectUnixWithTimeout(x->socket, x->timeout);
	if (c && !c->err && redisSetTimeout(c, x->timeout) == REDIS_OK)
		return c;
	*error = !c ? ENOMEM : errno ? errno : EIO;
	if (c)
		redisFree(c);
	return NULL;
}

/* The token of --token-file; "" without one. */
static int read_token(struct ctl *x, char *token, size_t cap)
{
	const char *file = x->token_file ? x->token_file : getenv("PURSER_TOKEN_FILE");
	char why[200];

	*token = '\0';
	if (file && *file && cfg_read_secret(file, token, cap, why, sizeof why) < 0)
		return ctl_fail(x, CTL_USAGE, "%s: %s", file, why);
	return CTL_OK;
}

int ctl_open(struct ctl *x, char *token, size_t cap)
{
	char why[256];
	int error = 0;

	if (cfg_socket_dir(x->socket, geteuid(), false, why, sizeof why) != 0)
		return ctl_fail(x, CTL_CONNECT, "%s", why);
	x->c = dial(x, &error);
	return x->c ? read_token(x, token, cap) : not_connected(x, error);
}

/* AUTH with the token of --token-file: with the project, or (a token of one project) without. */
static int authenticate(struct ctl *x, const char *file)
{
	char token[8192 + 1], why[200];
	redisReply *r = NULL;
	int rc;

	if (cfg_read_secret(file, token, sizeof token, why, sizeof why) < 0)
		return ctl_fail(x, CTL_USAGE, "%s: %s", file, why);
	rc = x->project ? ctl_ask_words(x, &r, "AUTH", x->project, token, NULL) : ctl_ask_words(x, &r, "AUTH", token, NULL);
	explicit_bzero(token, sizeof token);
	freeReplyObject(r);
	return rc;
}

int ctl_connect(struct ctl *x)
{
	const char *file = x->token_file ? x->token_file : getenv("PURSER_TOKEN_FILE");
	redisReply *r;
	char why[256];
	int error = 0, rc;

	if (x->c)
		return CTL_OK;
	if (cfg_socket_dir(x->socket, geteuid(), false, why, sizeof why) != 0)
		return ctl_fail(x, CTL_CONNECT, "%s", why);
	x->c = dial(x, &error);
	if (!x->c)
		return not_connected(x, error);
	if (file && *file)
		return authenticate(x, file);
	if (!x->project)
		return CTL_OK;
	rc = ctl_ask_words(x, &r, "PURSER.PROJECT", x->project, NULL);
	if (rc == CTL_OK)
		freeReplyObject(r);
	return rc;
}

int ctl_ask(struct ctl *x, int argc, const char **argv, const size_t *len, redisReply **out)
{
	redisReply *r;
	int rc = ctl_connect(x);

	*out = NULL;
	if (rc != CTL_OK)
		return rc;
	r = redisCommandArgv(x->c, argc, argv, len);
	if (!r)
		return lost(x);
	if (r->type == REDIS_REPLY_ERROR) {
		rc = ctl_fail(x, CTL_ERROR, "%.*s", (int)r->len, r->str);
		freeReplyObject(r);
		return rc;
	}
	*out = r;
	return CTL_OK;
}

int ctl_ask_words(struct ctl *x, redisReply **out, ...)
{
	const char *argv[16];
	size_t len[16];
	int argc = 0;
	va_list ap;

	va_start(ap, out);
	while (argc < 16 && (argv[argc] = va_arg(ap, const char *)) != NULL) {
		len[argc] = strlen(argv[argc]);
		argc++;
	}
	va_end(ap);
	return ctl_ask(x, argc, argv, len, out);
}

int ctl_try(struct ctl *x, redisReply **out, const char *word)
{
	int error = 0;

	*out = NULL;
	if (!x->c)
		x->c = dial(x, &error);
	if (x->c)
		*out = redisCommand(x->c, word);
	return *out && (*out)->type != REDIS_REPLY_ERROR ? CTL_OK : CTL_CONNECT;
}
