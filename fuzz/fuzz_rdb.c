/* SPDX-License-Identifier: Apache-2.0
 *
 * RESTORE of what strangers call a payload.  The input is a type and a value; the footer is put behind it, so that
 * the checksum is always right.  What is taken can be dumped, restored again and deleted, and then nothing is left.
 */
#include <config.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "cmd.h"
#include "crc64.h"
#include "memory_host.h"
#include "rdb.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *p = malloc(size + RDB_FOOTER);
	struct mh_ctx x;
	struct mh m;
	size_t n;

	memcpy(p, data, size);
	n = seal(p, size);
	mh_start(&m, (struct mh_settings){ 0, 0, 1 });
	mh_open(&x, &m);
	if (restore(&x, p, n)[0] == '+') {
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
