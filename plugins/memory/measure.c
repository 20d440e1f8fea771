/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes of items, exactly: see measure.h.
 */
#include "measure.h"
#include "list.h"
#include "stream.h"
#include "table.h"
#include "zset.h"

static int add_item(void *arg, uint64_t slot)
{
	*(size_t *)arg += item_memory(slot_item(slot));
	return 0;
}

static size_t with_items(const struct table *t)
{
	size_t n = table_own_bytes(t);

	table_each(t, add_item, &n);
	return n;
}

size_t item_memory(const struct item *it)
{
	size_t n = chunk_size(item_bytes(it));
	unsigned enc = item_enc(it);

	if (enc == ENC_BIG)
		n += chunk_size(blob_bytes(item_blob(it)->cap));
	else if (enc_is_table(enc))
		n += with_items(item_table(it));
	else if (enc == ENC_LIST)
		n += list_bytes(item_list(it));
	else if (enc == ENC_STREAM)
		n += stream_bytes(item_stream(it));
	else if (enc == ENC_ZSET)
		n += chunk_size(sizeof(struct zset)) + with_items(item_zset(it)->table);
	return n;
}

int item_blob_alone(struct ctx *cx, struct item *it)
{
	struct blob *b, *own;

	if (item_enc(it) != ENC_BIG)
		return 0;
	b = item_blob(it);
	if (atomic_load_explicit(&b->refs, memory_order_acquire) == 1)
		return 0;
	own = blob_new(cx, b->len, b->cap);
	if (!own)
		return -1;
	memcpy(own->data, b->data, b->len);
	item_set_word(it, (uint64_t)(uintptr_t)own);
	blob_drop(cx, b);
	return 0;
}

void item_set_owner(struct item *it, uint32_t project)
{
	if (item_enc(it) == ENC_BIG)
		item_blob(it)->owner = project;
}
