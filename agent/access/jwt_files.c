/* SPDX-License-Identifier: Apache-2.0 */
/* access/jwt_files: the keys of a [jwt NAME] section that stand in a file of this machine. */
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "access/jwt_priv.h"
#include "base/buf.h"

#define FILE_MAX (512u << 10)

static int no_memory(struct jwt_making *m)
{
	buf_puts(m->why, "out of memory\n");
	return -1;
}

/* Larger than a secret's file may be, and everybody may read it unless a secret is in it. */
static ssize_t read_file(struct jwt_making *m, const char *path, char *text, bool *open_to_all)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	size_t n = 0;
	ssize_t r = -1;

	if (fd >= 0 && fstat(fd, &st) == 0) {
		*open_to_all = st.st_mode & S_IROTH;
		errno = EINVAL;
		if (S_ISREG(st.st_mode))
			while (n < FILE_MAX && (r = read(fd, text + n, FILE_MAX - n)) > 0)
				n += (size_t)r;
	}
	if (r < 0)
		jwt_complain(m, CFG_JWT_JWKS_FILE, "jwks_file = %s: %s", path, strerror(errno));
	else if (n == FILE_MAX)
		r = jwt_complain(m, CFG_JWT_JWKS_FILE, "jwks_file = %s: it is larger than 512 KiB", path);
	if (fd >= 0)
		close(fd);
	return r < 0 ? -1 : (ssize_t)n;
}

static bool has_secret(const struct jwt_keys *s)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (s->v[i]->secret)
			return true;
	return false;
}

static int set_file(struct jwt_making *m, struct jwt_provider *v, const struct jwt_pins *pins, char *mem)
{
	const char *path = cfg_text(m->s, CFG_JWT_JWKS_FILE);
	bool open_to_all = false;
	ssize_t n = read_file(m, path, mem, &open_to_all);
	char why[256];

	if (n < 0)
		return -1;
	v->fixed = jwt_keys_read(mem, (size_t)n, pins, true, why, sizeof why);
	if (!v->fixed)
		return jwt_complain(m, CFG_JWT_JWKS_FILE, "jwks_file = %s: %s", path, why);
	if (open_to_all && has_secret(v->fixed))
		return jwt_complain(m, CFG_JWT_JWKS_FILE, "jwks_file = %s: there is a secret in it (kty oct), and every user "
		    "may read it: chmod o-r", path);
	for (uint32_t i = 0; i < v->fixed->n; i++)
		if (v->fixed->v[i]->bad != JWT_OK && v->fixed->v[i]->bad != JWT_KEY_USE)
			return jwt_complain(m, CFG_JWT_JWKS_FILE, "jwks_file = %s: key %u (kid %.64s): %s", path, i + 1,
			    v->fixed->v[i]->kid ? v->fixed->v[i]->kid : "missing", jwt_reason_text(v->fixed->v[i]->bad));
	return 0;
}

/* PEM is a public key, always: it can never become the secret of an HS alg. */
static int key_file(struct jwt_making *m, struct jwt_provider *v, const struct jwt_pins *pins, char *mem)
{
	const char *path = cfg_text(m->s, CFG_JWT_KEY_FILE);
	char why[256];
	ssize_t n = cfg_read_secret(path, mem, FILE_MAX, why, sizeof why);
	bool pem = n > 0 && memmem(mem, (size_t)n, "-----BEGIN ", 11);
	struct jwt_key *k;

	if (n < 0)
		return jwt_complain(m, CFG_JWT_KEY_FILE, "key_file = %s: %s", path, why);
	if (!pem && !pins->secret)
		return jwt_complain(m, CFG_JWT_KEY_FILE, "key_file = %s: it is no PEM, so it is a secret, but algorithms has "
		    "none of HS256 HS384 HS512", path);
	v->fixed = calloc(1, sizeof *v->fixed);
	k = v->fixed ? pem ? jwt_key_pem(mem, (size_t)n, pins) : jwt_key_secret(mem, (size_t)n, pins->secret) : NULL;
	if (!k)
		return no_memory(m);
	v->fixed->v[v->fixed->n++] = k;
	if (k->bad == JWT_KEY_BAD)
		return jwt_complain(m, CFG_JWT_KEY_FILE, "key_file = %s: it is no public key (BEGIN PUBLIC KEY) and no "
		    "certificate in PEM that tokens can be verified with", path);
	if (k->bad != JWT_OK)
		return jwt_complain(m, CFG_JWT_KEY_FILE, "key_file = %s: %s", path, jwt_reason_text(k->bad));
	if (!(k->algs & v->algs))
		return jwt_complain(m, CFG_JWT_KEY_FILE, "key_file = %s: algorithms has none that such a key is for", path);
	return 0;
}

int jwt_files(struct jwt_making *m, struct jwt_provider *v, const struct jwt_pins *pins)
{
	char *mem = malloc(FILE_MAX);
	int rc;

	if (!mem)
		return no_memory(m);
	rc = cfg_is_set(m->s, CFG_JWT_JWKS_FILE) ? set_file(m, v, pins, mem) : key_file(m, v, pins, mem);
	explicit_bzero(mem, FILE_MAX);
	free(mem);
	return rc;
}
