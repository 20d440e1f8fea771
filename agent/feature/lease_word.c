/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <purser/resp.h>
#include "feature/lease_word.h"
#include "resp/pick.h"

bool lease_is(purser_bytes w, const char *word)
{
	return w.n == strlen(word) && !strncasecmp((const char *)w.p, word, w.n);
}

bool lease_ms(purser_bytes w, int64_t least, int64_t most, int64_t *out)
{
	int64_t v;

	if (purser_resp_int(w.p, w.n, &v) || v < least || v > most)
		return false;
	*out = v;
	return true;
}

bool lease_is_token(purser_bytes w, char dst[RECORD_TOKEN_LEN + 1])
{
	if (w.n != RECORD_TOKEN_LEN)
		return false;
	for (size_t i = 0; i < w.n; i++)
		if (!((w.p[i] >= '0' && w.p[i] <= '9') || (w.p[i] >= 'a' && w.p[i] <= 'f')))
			return false;
	memcpy(dst, w.p, w.n);
	dst[w.n] = '\0';
	return true;
}

void lease_token(char dst[RECORD_TOKEN_LEN + 1], uint64_t a, uint64_t b)
{
	snprintf(dst, RECORD_TOKEN_LEN + 1, "%016" PRIx64 "%016" PRIx64, a, b);
}

bool lease_names(struct feature_call *f, purser_bytes names[2])
{
	names[0] = feature_key(f, f->argv[1]);
	names[1] = feature_name(f->arena, f->project->name, "cache", f->argv[1]);
	if (names[0].p && names[1].p)
		return true;
	feature_fail(f, ERR_OOM, NULL);
	return false;
}

int lease_pick(const uint8_t **p, const uint8_t *end, purser_bytes *out, bool *there)
{
	const uint8_t *at = *p;

	*there = false;
	if (end - at >= 3 && !memcmp(at, "_\r\n", 3)) {
		*p += 3;
		return 0;
	}
	if (end - at >= 5 && !memcmp(at, "$-1\r\n", 5)) {
		*p += 5;
		return 0;
	}
	*there = true;
	return resp_pick_bulk(p, end, out);
}

static int number(const uint8_t **p, const uint8_t *end, int64_t *out)
{
	return resp_pick_header(p, end, ':', out);
}

static int word_of(purser_bytes w)
{
	static const char *const words[] = { "HIT", "STALE", "WON", "BUSY", "NEG", "OK", "LOST" };

	for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
		if (lease_is(w, words[i]))
			return (int)i;
	return -1;
}

int lease_words(const uint8_t *resp, size_t n, struct lease_words *out)
{
	const uint8_t *at = resp, *end = resp + n;
	purser_bytes w;
	int64_t count;
	int word;

	memset(out, 0, sizeof *out);
	if (resp_pick_header(&at, end, '*', &count) || count < 2 || number(&at, end, &out->now_ms))
		return -1;
	if (at < end && *at == ':') {
		out->word = LEASE_WORD_COUNT;
		return number(&at, end, &out->count);
	}
	if (resp_pick_bulk(&at, end, &w) || (word = word_of(w)) < 0)
		return -1;
	out->word = (enum lease_word)word;
	switch (out->word) {
	case LEASE_WORD_HIT:
	case LEASE_WORD_WON:
	case LEASE_WORD_STALE:
		if (lease_pick(&at, end, &out->value, &out->has_value) || number(&at, end, &out->age_ms))
			return -1;
		return out->word == LEASE_WORD_STALE ? number(&at, end, &out->left_ms) : 0;
	case LEASE_WORD_NEG:
		return lease_pick(&at, end, &out->value, &out->has_value) || number(&at, end, &out->left_ms) ? -1 : 0;
	case LEASE_WORD_BUSY:
		return number(&at, end, &out->left_ms);
	default:
		return 0;
	}
}
