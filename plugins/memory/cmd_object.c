/* SPDX-License-Identifier: Apache-2.0
 *
 * OBJECT and MEMORY USAGE: looking at a key without touching it.
 */
#include "cmd.h"
#include "evict.h"
#include "hash.h"
#include "list.h"
#include "stream.h"
#include "table.h"
#include "zset.h"

#define SHARED_INTEGERS 10000
#define SWITCHING \
	"Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."

static struct item *look(struct ctx *cx, purser_call *c, struct pos *p)
{
	struct item *it = arg_find(cx, c, 2, 0, p, FIND_READ | FIND_NOTOUCH | FIND_QUIET);

	if (!it)
		reply_null(cx, c);
	return it;
}

void op_object_encoding(struct ctx *cx, purser_call *c)
{
	struct pos p;

	if (look(cx, c, &p))
		reply_text(cx, c, item_encoding(p.it));
}

void op_object_refcount(struct ctx *cx, purser_call *c)
{
	struct pos p;
	int shared;

	if (!look(cx, c, &p))
		return;
	shared = item_enc(p.it) == ENC_INT && item_int(p.it) >= 0 && item_int(p.it) < SHARED_INTEGERS;
	reply_int(cx, c, shared ? INT32_MAX : 1);
}

void op_object_idletime(struct ctx *cx, purser_call *c)
{
	struct pos p;

	if (!look(cx, c, &p))
		return;
	if (evict_idle_ms(cx, p.it) >= 0)
		reply_int(cx, c, evict_idle_ms(cx, p.it) / 1000);
	else if (evict_chosen(cx->st) == EVICT_ALLKEYS_S3FIFO)
		reply_error(cx, c, "ERR The allkeys-s3fifo maxmemory policy is selected, idle time not tracked. "
		    SWITCHING);
	else
		reply_error(cx, c, "ERR An LFU maxmemory policy is selected, idle time not tracked. " SWITCHING);
}

void op_object_freq(struct ctx *cx, purser_call *c)
{
	struct pos p;

	if (!look(cx, c, &p))
		return;
	if (evict_uses(cx, p.it) >= 0)
		reply_int(cx, c, evict_uses(cx, p.it));
	else
		reply_error(cx, c, "ERR An LFU maxmemory policy is not selected, access frequency not "
		    "tracked. " SWITCHING);
}

void op_object_help(struct ctx *cx, purser_call *c)
{
	static const char *const help[] = {
		"OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
		"ENCODING <key>",
		"    Return the kind of internal representation used in order to store the value",
		"    associated with a <key>.",
		"FREQ <key>",
		"    Return the access frequency index of the <key>. The returned integer is",
		"    proportional to the logarithm of the recent access frequency of the key.",
		"IDLETIME <key>",
		"    Return the idle time of the <key>, that is the approximated number of",
		"    seconds elapsed since the last access to the key.",
		"REFCOUNT <key>",
		"    Return the number of references of the value associated with the specified",
		"    <key>.",
		"HELP",
		"    Prints this help.",
	};

	reply_help(cx, c, help, sizeof(help) / sizeof(*help));
}

void op_memory_usage(struct ctx *cx, purser_call *c)
{
	struct pos p;
	int64_t samples;
	uint32_t i;
	size_t n;

	for (i = 3; i < c->argc; i += 2) {
		if (!arg_is(c->argv[i], "samples") || i + 1 >= c->argc) {
			reply_error(cx, c, err_syntax);
			return;
		}
		if (arg_int(cx, c, i + 1, &samples))
			return;
		if (samples < 0) {
			reply_error(cx, c, err_syntax);
			return;
		}
	}
	if (!look(cx, c, &p))
		return;
	n = chunk_size(item_bytes(p.it)) + sizeof(uint64_t);
	if (item_enc(p.it) == ENC_BIG)
		n += chunk_size(blob_bytes(item_blob(p.it)->cap));
	else if (enc_is_table(item_enc(p.it)))
		n += hash_table_memory(item_table(p.it));
	else if (item_enc(p.it) == ENC_LIST)
		n += list_memory(item_list(p.it));
	else if (item_enc(p.it) == ENC_ZSET)
		n += zset_memory(item_zset(p.it));
	else if (item_enc(p.it) == ENC_STREAM)
		n += stream_memory(item_stream(p.it));
	reply_int(cx, c, (int64_t)n);
}
