/* SPDX-License-Identifier: Apache-2.0
 *
 * feature/lease_word: the small words of CACHE.LEASE and its like: options, tokens, what the script says.
 */
#ifndef FEATURE_LEASE_WORD_H
#define FEATURE_LEASE_WORD_H
#include "feature/feature.h"
#include "feature/record.h"

bool lease_is(purser_bytes w, const char *word);         /* in any case */
bool lease_ms(purser_bytes w, int64_t least, int64_t most, int64_t *out); /* a whole number in there */
/* A token as we make them.  dst: its text, NUL-terminated. */
bool lease_is_token(purser_bytes w, char dst[RECORD_TOKEN_LEN + 1]);
void lease_token(char dst[RECORD_TOKEN_LEN + 1], uint64_t a, uint64_t b);

/* The physical names of argv[1] and its record.  False: f has failed, and is no more. */
bool lease_names(struct feature_call *f, purser_bytes names[2]);

/* A bulk or a null of a whole reply.  -1: something else. */
int lease_pick(const uint8_t **p, const uint8_t *end, purser_bytes *out, bool *there);

/* What lua/cache_lease.lua has said. */
struct lease_words {
	int64_t now_ms;
	enum lease_word { LEASE_WORD_HIT, LEASE_WORD_STALE, LEASE_WORD_WON, LEASE_WORD_BUSY, LEASE_WORD_NEG, LEASE_WORD_OK,
		LEASE_WORD_LOST, LEASE_WORD_COUNT } word; /* COUNT: of `clear` */
	bool has_value;
	purser_bytes value;  /* or the reason of NEG */
	int64_t age_ms, left_ms, count;
};
int lease_words(const uint8_t *resp, size_t n, struct lease_words *out); /* 0, or -1: not what it says */

/* What the reply of the script that was sent then says of the store's clock. */
void lease_clock(const struct feature_call *f, uint64_t sent_ns, int64_t store_ms);

void lease_fill_commands(feature_handler *t);
#endif
