/* SPDX-License-Identifier: Apache-2.0
 *
 * RESTORE of what strangers call a payload.  The input is a type and a value; the footer is put behind it, so that
 * the checksum is always right.  What is taken can be dumped, restored again and deleted, and then nothing is left.
 * What begins as a file of Redis does is read as one (without a checksum), written and read again.
 */
#define _GNU_SOURCE
#include <config.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "cmd.h"
#include "crc64.h"
#include "memory_host.h"
#include "rdb.h"
#include "snapshot.h"

#define MUST(x) do { if (!(x)) abort(); } while (0)

static const char *restore(struct mh_ctx *x, const uint8_t *p, size_t n)
{
	purser_bytes argv[5] = { { (const uint8_t *)"RESTORE", 7 }, { (const uint8_t *)"k", 1 },
		{ (const uint8_t *)"0", 1 }, { p, n }, { (const uint8_t *)"REPLACE", 7 } };

	return mh_argv(x, 5, argv);
}

static size_t seal(uint8_t *p, size_t n)
{
	uint64_t crc;
	unsigned i;

	p[n++] = RDB_VERSION;
	p[n++] = 0;
	crc = crc64(0, p, n);
	for (i = 0; i < 8; i++)
		p[n++] = (uint8_t)(crc >> 8 * i);
	return n;
}

/* As a snapshot; the two bytes that say that it has ended, and has no checksum, come behind. */
static void read_file(struct mh_ctx *x, const uint8_t *data, size_t size)
{
	static const uint8_t end[9] = { 255 };
	int fd = memfd_create("snapshot", MFD_CLOEXEC), again = memfd_create("again", MFD_CLOEXEC);
	struct snapshot_counts n, m;
	char why[160];
	uint64_t at;

	MUST(fd >= 0 && again >= 0);
	MUST(write(fd, data, size) == (ssize_t)size && write(fd, end, sizeof(end)) == (ssize_t)sizeof(end));
	MUST(lseek(fd, 0, SEEK_SET) == 0);
	if (snapshot_read(x->cs, fd, &n, why, &at) == 0) {
		MUST(snapshot_write(x->cs, again, &m) == 0);
		MUST(m.keys + m.expired == n.keys);
		MUST(strcmp(mh_run(x, "FLUSHALL"), "+OK\r\n") == 0);
		MUST(strcmp(mh_run(x, "FUNCTION FLUSH"), "+OK\r\n") == 0);
		MUST(lseek(again, 0, SEEK_SET) == 0);
		MUST(snapshot_read(x->cs, again, &n, why, &at) == 0 && n.keys + n.expired == m.keys);
	} else {
		MUST(*why && at <= size + sizeof(end));
	}
	MUST(strcmp(mh_run(x, "FLUSHALL"), "+OK\r\n") == 0);
	close(fd);
	close(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *p = malloc(size + RDB_FOOTER);
	struct mh_ctx x;
	struct mh m;
	size_t n;

	memcpy(p, data, size);
	n = seal(p, size);
	mh_start(&m, (struct mh_settings){ .databases = 1, .script_memory = 8 << 20 });
	mh_open(&x, &m);
	if (size > 5 && memcmp(data, "REDIS", 5) == 0) {
		read_file(&x, data, size);
	} else if (restore(&x, p, n)[0] == '+') {
		MUST(mh_run(&x, "DUMP k")[0] == '$');
		n = strtoul(x.reply + 1, NULL, 10);
		p = realloc(p, n);
		memcpy(p, strchr(x.reply, '\n') + 1, n);
		MUST(restore(&x, p, n)[0] == '+');
		MUST(strcmp(mh_run(&x, "DEL k"), ":1\r\n") == 0);
	} else {
		MUST(strcmp(x.reply, "-ERR Bad data format\r\n") == 0);
	}
	mh_release(&x);
	while (mh_pass(&x, 100))
		;
	MUST(store_used(m.state) == 0);
	mh_close(&x);
	mh_stop(&m);
	free(p);
	return 0;
}
