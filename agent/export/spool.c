/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "base/dirs.h"
#include "export/spool.h"

#define FORMAT 1u
#define ACK_BLOCK 64u
#define PAYLOAD_MAX ((uint32_t)64 << 20)

static const uint8_t segment_magic[8] = "PSRSPOOL", record_magic[4] = { 0xa5, 'P', 'R', 0x5a }, ack_magic[8] = "PSRACK\r\n";

struct segment {
	struct segment *next;       /* newer */
	uint32_t id;
	uint32_t live;              /* records that are not done with */
	uint64_t size;
};

struct spool {
	int dir, lock, ack;
	uint64_t segment_bytes;
	bool sync;
	int fd;                     /* of the newest segment when it is written to; or -1 */
	int reading;                /* of the one that was read from last; or -1 */
	uint32_t reading_id;
	struct segment *oldest, *newest;
	uint64_t bytes;
	uint64_t seq;               /* the last one given */
	uint64_t done[SPOOL_SIGNALS];
	uint64_t acks;              /* written so far */
	uint32_t last_id;
};

/* ---- bytes ---- */

/* CRC-32C (Castagnoli), reflected; four bits a step. */
static uint32_t crc32c(uint32_t crc, const void *data, size_t n)
{
	static const uint32_t step[16] = { 0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
		0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab,
		0xe330a81a, 0xf36e6f75 };
	const uint8_t *p = data;

	crc = ~crc;
	for (size_t i = 0; i < n; i++) {
		crc ^= p[i];
		crc = crc >> 4 ^ step[crc & 15];
		crc = crc >> 4 ^ step[crc & 15];
	}
	return ~crc;
}

static void put(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t get(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

/* magic 4, length 4, seq 8, time 8, items 4, signal 1, flags 1, 0 2, payload's CRC 4, 0 8, CRC of all before 4 */
static void put_head(uint8_t h[SPOOL_RECORD_HEAD], const struct spool_record *r, const uint8_t *payload)
{
	memset(h, 0, SPOOL_RECORD_HEAD);
	memcpy(h, record_magic, 4);
	put(h + 4, r->len, 4);
	put(h + 8, r->seq, 8);
	put(h + 16, r->wall_ns, 8);
	put(h + 24, r->items, 4);
	h[28] = r->signal;
	h[29] = r->gzip;
	put(h + 32, crc32c(0, payload, r->len), 4);
	put(h + 44, crc32c(0, h, 44), 4);
}

static bool get_head(const uint8_t *h, struct spool_record *r, uint32_t *crc)
{
	if (memcmp(h, record_magic, 4) || get(h + 44, 4) != crc32c(0, h, 44) || h[28] >= SPOOL_SIGNALS)
		return false;
	r->len = (uint32_t)get(h + 4, 4);
	r->seq = get(h + 8, 8);
	r->wall_ns = get(h + 16, 8);
	r->items = (uint32_t)get(h + 24, 4);
	r->signal = h[28];
	r->gzip = h[29] & 1;
	*crc = (uint32_t)get(h + 32, 4);
	return r->len <= PAYLOAD_MAX;
}

/* ---- files ---- */

static void name_of(uint32_t id, char name[20])
{
	snprintf(name, 20, "%010" PRIu32 ".seg", id);
}

/* -1: it is none of ours. */
static int64_t id_of(const char *name)
{
	uint64_t id = 0;

	if (strlen(name) != 14 || strcmp(name + 10, ".seg"))
		return -1;
	for (int i = 0; i < 10; i++) {
		if (name[i] < '0' || name[i] > '9')
			return -1;
		id = id * 10 + (uint64_t)(name[i] - '0');
	}
	return id && id <= UINT32_MAX ? (int64_t)id : -1;
}

static int read_all(int fd, void *to, size_t n, off_t at)
{
	uint8_t *p = to;

	while (n) {
		ssize_t k = pread(fd, p, n, at);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			errno = k ? errno : EIO;
			return -1;
		}
		p += k;
		at += k;
		n -= (size_t)k;
	}
	return 0;
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* The segments of a directory, ascending; NULL with *n 0: none, or -1 in *n: it cannot be read. */
static uint32_t *list(int dir, int64_t *n)
{
	uint32_t *ids = NULL;
	size_t cap = 0;
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	*n = d ? 0 : -1;
	if (!d && fd >= 0)
		close(fd);
	while (d && (e = readdir(d))) {
		int64_t id = id_of(e->d_name);
		uint32_t *more;

		if (id < 0)
			continue;
		if ((size_t)*n == cap) {
			cap = cap ? cap * 2 : 64;
			more = realloc(ids, cap * sizeof *ids);
			if (!more) {
				*n = -1;
				break;
			}
			ids = more;
		}
		ids[(*n)++] = (uint32_t)id;
	}
	if (d)
		closedir(d);
	if (*n > 0)
		qsort(ids, (size_t)*n, sizeof *ids, compare_ids);
	return ids;
}

/* A second name in bad/, of which the newest few stay. */
static bool keep_aside(struct spool *s, uint32_t id)
{
	char name[20], bad[32];
	int64_t n;
	uint32_t *ids;
	int dir;

	name_of(id, name);
	snprintf(bad, sizeof bad, "bad/%s", name);
	if (mkdirat(s->dir, "bad", 0700) && errno != EEXIST)
		return false;
	if (linkat(s->dir, name, s->dir, bad, 0) && errno != EEXIST)
		return false;
	dir = openat(s->dir, "bad", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return true;
	ids = list(dir, &n);
	for (int64_t i = 0; i + SPOOL_BAD_KEPT < n; i++) {
		name_of(ids[i], name);
		(void)unlinkat(dir, name, 0); /* one too many is no harm */
	}
	free(ids);
	close(dir);
	return true;
}

/* ---- segments ---- */

static struct segment *add_segment(struct spool *s, uint32_t id)
{
	struct segment *g = calloc(1, sizeof *g);

	if (!g)
		return NULL;
	g->id = id;
	if (s->newest)
		s->newest->next = g;
	else
		s->oldest = g;
	s->newest = g;
	return g;
}

static void remove_segment(struct spool *s, struct segment *g)
{
	struct segment **at = &s->oldest, *before = NULL;
	char name[20];

	for (; *at != g; at = &(*at)->next)
		before = *at;
	*at = g->next;
	if (s->newest == g) {
		s->newest = before;
		if (s->fd >= 0)
			close(s->fd);
		s->fd = -1;
	}
	if (s->reading >= 0 && s->reading_id == g->id) {
		close(s->reading);
		s->reading = -1;
	}
	name_of(g->id, name);
	(void)unlinkat(s->dir, name, 0); /* found again at the next start, and done with by then */
	s->bytes -= g->size;
	free(g);
}

static struct segment *find(const struct spool *s, uint32_t id)
{
	struct segment *g = s->oldest;

	while (g && g->id != id)
		g = g->next;
	return g;
}

static void settle(struct spool *s, uint32_t id)
{
	struct segment *g = find(s, id);

	if (g && g->live && --g->live == 0 && !(g == s->newest && s->fd >= 0))
		remove_segment(s, g);
}

void spool_forget(struct spool *s, const struct spool_record *r)
{
	settle(s, r->segment);
}

uint64_t spool_bytes(const struct spool *s)
{
	return s->bytes;
}

uint32_t spool_oldest(const struct spool *s)
{
	return s->oldest ? s->oldest->id : 0;
}

void spool_drop(struct spool *s, uint32_t segment)
{
	struct segment *g = find(s, segment);

	if (g)
		remove_segment(s, g);
}

/* ---- ack ---- */

/* Two blocks in turn, so that one is whole whatever happens: a rename for each request sent makes some file systems
 * write all of it out at once. */
static int write_ack(struct spool *s)
{
	uint8_t b[ACK_BLOCK] = { 0 };
	ssize_t n;

	memcpy(b, ack_magic, 8);
	put(b + 8, FORMAT, 4);
	put(b + 16, ++s->acks, 8);
	for (unsigned k = 0; k < SPOOL_SIGNALS; k++)
		put(b + 24 + 8 * k, s->done[k], 8);
	put(b + 60, crc32c(0, b, 60), 4);
	n = pwrite(s->ack, b, sizeof b, (off_t)(s->acks & 1) * ACK_BLOCK);
	if (n >= 0 && n < (ssize_t)sizeof b)
		errno = ENOSPC;
	return n == (ssize_t)sizeof b ? 0 : -1;
}

static void read_ack(struct spool *s)
{
	uint8_t both[2 * ACK_BLOCK] = { 0 };
	ssize_t n = pread(s->ack, both, sizeof both, 0);

	for (int i = 0; n > 0 && i < 2; i++) {
		const uint8_t *b = both + i * ACK_BLOCK;

		if (memcmp(b, ack_magic, 8) || get(b + 8, 4) != FORMAT || get(b + 60, 4) != crc32c(0, b, 60) ||
		    get(b + 16, 8) <= s->acks)
			continue;
		s->acks = get(b + 16, 8);
		for (unsigned k = 0; k < SPOOL_SIGNALS; k++)
			s->done[k] = get(b + 24 + 8 * k, 8);
	}
	for (unsigned k = 0; k < SPOOL_SIGNALS; k++)
		if (s->done[k] > s->seq)
			s->seq = s->done[k];
}

int spool_ack(struct spool *s, const struct spool_record *r)
{
	int rc;

	if (r->seq > s->done[r->signal])
		s->done[r->signal] = r->seq;
	rc = write_ack(s); /* before its segment goes: a crash between the two only finds an empty one */
	settle(s, r->segment);
	return rc;
}

/* ---- opening ---- */

struct scan {
	struct spool *s;
	struct segment *g;
	const uint8_t *p;
	size_t n;
	void (*found)(void *arg, const struct spool_record *r);
	void *arg;
	struct spool_report *rep;
};

static void take(struct scan *c, struct spool_record *r, size_t at)
{
	if (r->seq > c->s->seq)
		c->s->seq = r->seq;
	if (r->seq <= c->s->done[r->signal])
		return;
	r->segment = c->g->id;
	r->offset = (uint32_t)at;
	c->g->live++;
	c->rep->records++;
	c->rep->bytes += r->len;
	c->found(c->arg, r);
}

/* Where the next good head is, at or behind at; n: nowhere. */
static size_t next_head(const struct scan *c, size_t at)
{
	struct spool_record r = { 0 };
	uint32_t crc;

	for (; at + SPOOL_RECORD_HEAD <= c->n; at++) {
		const uint8_t *m = memchr(c->p + at, record_magic[0], c->n - at);

		if (!m || (at = (size_t)(m - c->p)) + SPOOL_RECORD_HEAD > c->n)
			break;
		if (get_head(m, &r, &crc) && r.len <= c->n - at - SPOOL_RECORD_HEAD)
			return at;
	}
	return c->n;
}

/* The offset behind the last good record; *damaged: a place before it was not. */
static size_t scan_records(struct scan *c, bool *damaged)
{
	size_t at = SPOOL_SEGMENT_HEAD, good = at;
	struct spool_record r = { 0 };
	uint32_t crc;

	while (at < c->n) {
		if (c->n - at >= SPOOL_RECORD_HEAD && get_head(c->p + at, &r, &crc) &&
		    r.len <= c->n - at - SPOOL_RECORD_HEAD) {
			take(c, &r, at);
			at += SPOOL_RECORD_HEAD + r.len;
			good = at;
			continue;
		}
		at = next_head(c, at + 1);
		if (at < c->n) {
			*damaged = true;
			c->rep->damaged++;
		}
	}
	return good;
}

static bool head_is_good(const uint8_t *p, size_t n)
{
	return n >= SPOOL_SEGMENT_HEAD && !memcmp(p, segment_magic, 8) && get(p + 8, 4) == FORMAT;
}

/* The head of the file is written before anything else of it, so a short one is a crash; another one is another
 * format, or damage in the worst place: records are looked for all the same. */
static void scan_segment(struct scan *c, bool last, int fd)
{
	bool damaged = false;
	size_t good;

	if (c->n >= 12 && !memcmp(c->p, segment_magic, 8) && get(c->p + 8, 4) > FORMAT && get(c->p + 8, 4) < 64) {
		c->rep->unknown++;
		keep_aside(c->s, c->g->id);
		return;
	}
	if (c->n >= SPOOL_SEGMENT_HEAD && !head_is_good(c->p, c->n))
		damaged = true;
	good = scan_records(c, &damaged);
	if (good < c->n && !last)
		damaged = true;
	if (good < c->n && c->n > SPOOL_SEGMENT_HEAD && last) {
		c->rep->cut = true;
		if (!damaged && good >= SPOOL_SEGMENT_HEAD && ftruncate(fd, (off_t)good) == 0) {
			c->s->bytes -= c->g->size - good;
			c->g->size = good;
		}
	} else if (good < c->n) {
		c->rep->damaged++;
	}
	if (damaged && keep_aside(c->s, c->g->id))
		c->rep->bad++;
}

static int open_segment(struct spool *s, struct scan *c, uint32_t id, bool last)
{
	char name[20];
	struct stat st;
	uint8_t *p;
	int fd;

	name_of(id, name);
	s->last_id = id;
	fd = openat(s->dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		if (fd >= 0)
			close(fd);
		c->rep->damaged++;
		return 0; /* it stays where it is */
	}
	p = malloc((size_t)st.st_size + 1);
	c->g = p ? add_segment(s, id) : NULL;
	if (!c->g) {
		free(p);
		close(fd);
		return -1;
	}
	c->g->size = (uint64_t)st.st_size;
	s->bytes += c->g->size;
	c->p = p;
	c->n = (size_t)st.st_size;
	if (read_all(fd, p, c->n, 0)) {
		c->rep->damaged++;
		keep_aside(s, id);
	} else {
		scan_segment(c, last, fd);
	}
	free(p);
	close(fd);
	if (!c->g->live)
		remove_segment(s, c->g);
	return 0;
}

static int enter(struct spool *s, const char *dir, char *why, size_t cap)
{
	const char *what = "cannot be made";
	struct stat st;

	s->dir = dirs_make(dir) ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (s->dir >= 0 && (fstat(s->dir, &st) || st.st_uid != geteuid() || (st.st_mode & 022))) {
		snprintf(why, cap, "%s is another user's, or others may write to it", dir);
		return -1;
	}
	if (s->dir >= 0) {
		what = "cannot be written to";
		s->lock = openat(s->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	}
	if (s->lock >= 0)
		s->ack = openat(s->dir, "ack", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->ack < 0) {
		snprintf(why, cap, "%s %s: %s", dir, what, strerror(errno));
		return -1;
	}
	if (flock(s->lock, LOCK_EX | LOCK_NB)) {
		if (errno == EWOULDBLOCK)
			snprintf(why, cap, "%s is in use by another agent: give each its own [agent] state_dir", dir);
		else
			snprintf(why, cap, "%s cannot be locked: %s", dir, strerror(errno));
		return -1;
	}
	return 0;
}

struct spool *spool_open(const struct spool_opts *o, void (*found)(void *arg, const struct spool_record *r),
    void *arg, struct spool_report *rep, char *why, size_t cap)
{
	struct spool *s = calloc(1, sizeof *s);
	struct scan c = { .s = s, .found = found, .arg = arg, .rep = rep };
	uint32_t *ids = NULL;
	int64_t n = 0;

	memset(rep, 0, sizeof *rep);
	if (!s) {
		snprintf(why, cap, "out of memory");
		return NULL;
	}
	s->dir = s->lock = s->ack = s->fd = s->reading = -1;
	s->segment_bytes = o->segment_bytes ? o->segment_bytes : (uint64_t)4 << 20;
	s->sync = o->sync;
	if (enter(s, o->dir, why, cap)) {
		spool_close(s);
		return NULL;
	}
	read_ack(s);
	ids = list(s->dir, &n);
	for (int64_t i = 0; i < n; i++)
		if (open_segment(s, &c, ids[i], i == n - 1)) {
			n = -1;
			break;
		}
	free(ids);
	if (n < 0) {
		snprintf(why, cap, "%s cannot be read: out of memory, or %s", o->dir, strerror(errno));
		spool_close(s);
		return NULL;
	}
	return s;
}

void spool_close(struct spool *s)
{
	if (!s)
		return;
	while (s->oldest) {
		struct segment *g = s->oldest;

		s->oldest = g->next;
		free(g);
	}
	for (unsigned i = 0; i < 5; i++) {
		int fd = (int[]){ s->fd, s->reading, s->ack, s->lock, s->dir }[i];

		if (fd >= 0)
			close(fd);
	}
	free(s);
}

/* ---- writing ---- */

static int start_segment(struct spool *s)
{
	uint8_t head[SPOOL_SEGMENT_HEAD] = { 0 };
	struct segment *g;
	char name[20];
	int fd;

	if (s->last_id == UINT32_MAX) {
		errno = EOVERFLOW;
		return -1;
	}
	name_of(s->last_id + 1, name);
	fd = openat(s->dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -1;
	memcpy(head, segment_magic, 8);
	put(head + 8, FORMAT, 4);
	if (pwrite(fd, head, sizeof head, 0) != (ssize_t)sizeof head || (s->sync && fsync(s->dir)) ||
	    !(g = add_segment(s, s->last_id + 1))) {
		int err = errno ? errno : ENOSPC;

		(void)unlinkat(s->dir, name, 0);
		close(fd);
		errno = err;
		return -1;
	}
	s->last_id++;
	g->size = sizeof head;
	s->bytes += g->size;
	s->fd = fd;
	return 0;
}

/* The newest segment is written to no more. */
static void end_segment(struct spool *s)
{
	close(s->fd);
	s->fd = -1;
	if (!s->newest->live)
		remove_segment(s, s->newest);
}

static int write_all(int fd, struct iovec *v, unsigned n, off_t at)
{
	while (n) {
		ssize_t k = pwritev(fd, v, (int)n, at);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			errno = k ? errno : ENOSPC;
			return -1;
		}
		at += k;
		for (; n && (size_t)k >= v->iov_len; v++, n--)
			k -= (ssize_t)v->iov_len;
		if (n) {
			v->iov_base = (uint8_t *)v->iov_base + k;
			v->iov_len -= (size_t)k;
		}
	}
	return 0;
}

int spool_write(struct spool *s, struct spool_write *v, unsigned n)
{
	uint8_t heads[SPOOL_GROUP][SPOOL_RECORD_HEAD];
	struct iovec io[2 * SPOOL_GROUP];
	uint64_t at, from;
	unsigned nio = 0;

	if (s->fd >= 0 && s->newest->size >= s->segment_bytes)
		end_segment(s);
	if (s->fd < 0 && start_segment(s))
		return -1;
	from = at = s->newest->size;
	for (unsigned i = 0; i < n; i++) {
		struct spool_record *r = &v[i].r;

		r->seq = s->seq + 1 + i;
		r->segment = s->newest->id;
		r->offset = (uint32_t)at;
		put_head(heads[i], r, v[i].payload);
		io[nio++] = (struct iovec){ heads[i], SPOOL_RECORD_HEAD };
		if (r->len)
			io[nio++] = (struct iovec){ (void *)(uintptr_t)v[i].payload, r->len };
		at += SPOOL_RECORD_HEAD + r->len;
	}
	if (write_all(s->fd, io, nio, (off_t)from) || (s->sync && fdatasync(s->fd))) {
		int err = errno;

		/* Half of it may be there: the next group goes into a segment of its own. */
		if (ftruncate(s->fd, (off_t)from) || s->sync)
			end_segment(s);
		errno = err;
		return -1;
	}
	s->seq += n;
	s->newest->size = at;
	s->newest->live += n;
	s->bytes += at - from;
	return 0;
}

/* ---- reading ---- */

int spool_read(struct spool *s, const struct spool_record *r, struct buf *out)
{
	uint8_t h[SPOOL_RECORD_HEAD];
	struct spool_record is = { 0 };
	char name[20];
	uint32_t crc;

	if (s->reading < 0 || s->reading_id != r->segment) {
		if (s->reading >= 0)
			close(s->reading);
		name_of(r->segment, name);
		s->reading = openat(s->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		s->reading_id = r->segment;
	}
	if (s->reading < 0 || read_all(s->reading, h, sizeof h, r->offset) || !get_head(h, &is, &crc) ||
	    is.seq != r->seq || is.len != r->len || buf_room(out, r->len) ||
	    (r->len && read_all(s->reading, out->p + out->end, r->len, (off_t)r->offset + SPOOL_RECORD_HEAD)) ||
	    crc32c(0, out->p ? out->p + out->end : NULL, r->len) != crc)
		return -1;
	out->end += r->len;
	return 0;
}
