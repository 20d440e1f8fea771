/* SPDX-License-Identifier: Apache-2.0
 *
 * plant: what passes is cut into commands and replies, to count them by name, and to plant what no agent
 * can notice: two replies exchanged, one lost, one too many, a command run twice, lost or out of order.
 */
#include <config.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "proxy.h"

const char *const plant_names[PLANTS] = { "none", "swap", "drop", "dup", "repeat", "lose", "reorder", "word" };
#define QUIET_VALUES 60 /* of a new link: its handshake is left alone */

static struct { char name[24]; uint64_t n; } names[128];
static unsigned nnames;

void plant_zero(void) { nnames = 0; }

static void name_count(const char *name)
{
	unsigned i;

	for (i = 0; i < nnames && strcmp(names[i].name, name) != 0; i++)
		;
	if (i == sizeof(names) / sizeof(*names))
		return;
	if (i == nnames) {
		snprintf(names[i].name, sizeof(names[i].name), "%s", name);
		names[i].n = 0;
		nnames++;
	}
	names[i].n++;
}

void plant_names_json(char *out, size_t cap)
{
	size_t at = 1;
	unsigned i;

	out[0] = '{';
	for (i = 0; i < nnames && at + 60 < cap; i++)
		at += (size_t)snprintf(out + at, cap - at, "%s\"%s\":%llu", i ? "," : "", names[i].name,
		                       (unsigned long long)names[i].n);
	snprintf(out + at, cap - at, "}");
}

/* Argument `want` of the command p[0..n), as far as it is there. */
static bool word(const uint8_t *p, size_t n, unsigned want, const uint8_t **w, size_t *wn)
{
	size_t at;
	int64_t k, len;
	unsigned i;

	if (n == 0 || *p != '*')
		return false;
	k = purser_scan_number(p, n, &len);
	if (k <= 0 || len <= (int64_t)want)
		return false;
	for (at = (size_t)k, i = 0;; i++) {
		if (at >= n || p[at] != '$')
			return false;
		k = purser_scan_number(p + at, n - at, &len);
		if (k <= 0 || len < 0 || (uint64_t)len + 2 > n - at - (size_t)k)
			return false;
		at += (size_t)k;
		if (i == want) {
			*w = p + at;
			*wn = (size_t)len;
			return true;
		}
		at += (size_t)len + 2;
	}
}

static bool is(const uint8_t *p, size_t n, const char *name)
{
	const uint8_t *w;
	size_t wn;

	return word(p, n, 0, &w, &wn) && wn == strlen(name) && strncasecmp((const char *)w, name, wn) == 0;
}

/* A value has passed; p[0..n) is its beginning. */
static void passed(struct pair *pr, int dir, const uint8_t *p, size_t n)
{
	const uint8_t *w;
	size_t wn, i;
	char name[24];

	if (dir == DOWN) {
		if (*p != '>') {
			count.replies++;
			pr->way[DOWN].values++;
		}
		return;
	}
	count.commands++;
	pr->way[UP].values++;
	if (!word(p, n, 0, &w, &wn))
		return;
	for (i = 0; i < wn && i < sizeof(name) - 1; i++)
		name[i] = isalnum(w[i]) || w[i] == '.' || w[i] == '_' ? (char)toupper(w[i]) : '?';
	name[i] = 0;
	name_count(name);
	if (strstr(name, "SUBSCRIBE"))
		pr->subscribed = true;
}

/* Counting alone: nothing is held back. */
static void meter(struct pair *pr, int dir, const uint8_t *p, size_t n)
{
	struct way *w = &pr->way[dir];
	size_t at = 0;

	while (at < n) {
		int64_t k;
		size_t copy;

		if (!w->inside) {
			purser_scan_begin(&w->scan);
			w->nhead = 0;
			w->inside = true;
		}
		if (w->stage.n > w->stage.at) { /* the begin of a header line */
			bytes_add(&w->stage, p + at, 1);
			at++;
			k = purser_scan_feed(&w->scan, w->stage.p + w->stage.at, w->stage.n - w->stage.at);
			if (k == 0)
				continue;
			copy = k > 0 ? (size_t)k : 0;
			if (copy > sizeof(w->head) - w->nhead)
				copy = sizeof(w->head) - w->nhead;
			memcpy(w->head + w->nhead, w->stage.p + w->stage.at, copy);
			w->nhead = (uint8_t)(w->nhead + copy);
			w->stage.at = w->stage.n = 0;
		} else {
			k = purser_scan_feed(&w->scan, p + at, n - at);
			if (k == 0) {
				bytes_add(&w->stage, p + at, n - at);
				return;
			}
			copy = k > 0 ? (size_t)k : 0;
			if (copy > sizeof(w->head) - w->nhead)
				copy = sizeof(w->head) - w->nhead;
			memcpy(w->head + w->nhead, p + at, copy);
			w->nhead = (uint8_t)(w->nhead + copy);
			at += k > 0 ? (size_t)k : 0;
		}
		if (k < 0) { /* not RESP: no longer counted */
			w->inside = false;
			return;
		}
		if (purser_scan_done(&w->scan)) {
			w->inside = false;
			passed(pr, dir, w->head, w->nhead);
		}
	}
}

/* The length of the whole value at p[0..n), or 0. */
static size_t whole(const uint8_t *p, size_t n)
{
	purser_scan s;
	int64_t k;

	if (n == 0)
		return 0;
	purser_scan_begin(&s);
	k = purser_scan_feed(&s, p, n);
	return k > 0 && purser_scan_done(&s) ? (size_t)k : 0;
}

static bool same_key(const uint8_t *a, size_t an, const uint8_t *b, size_t bn)
{
	const uint8_t *ka, *kb;
	size_t kan, kbn;

	return is(a, an, "RPUSH") && is(b, bn, "RPUSH") && word(a, an, 1, &ka, &kan) &&
	       word(b, bn, 1, &kb, &kbn) && kan == kbn && memcmp(ka, kb, kan) == 0;
}

/* A command that appends to the log of a client, and its like behind it in what is there: exchanged. */
static size_t reorder(struct way *w, const uint8_t *p, size_t n, size_t k)
{
	size_t at = k, m, i;

	for (i = 0; i < 64 && (m = whole(p + at, n - at)) > 0; i++, at += m)
		if (same_key(p, k, p + at, m)) {
			bytes_add(&w->out, p + at, m);
			bytes_add(&w->out, p + k, at - k);
			bytes_add(&w->out, p, k);
			return at + m;
		}
	return 0;
}

static size_t plant_up(struct pair *pr, const uint8_t *p, size_t n, size_t k)
{
	struct way *w = &pr->way[UP];
	const uint8_t *key;
	size_t kn, took;
	char head[64];

	if (!is(p, k, "RPUSH") || !word(p, k, 1, &key, &kn) || !memmem(key, kn, ":log:", 5))
		return 0;
	if (set.plant == PLANT_REPEAT && !pr->skipping) {
		bytes_add(&w->out, p, k);
		bytes_add(&w->out, p, k);
		passed(pr, UP, p, k);
		pr->skip = pr->way[UP].values; /* replies are counted from 0: that of the second one */
		pr->skipping = true;
		return k;
	}
	if (set.plant == PLANT_LOSE) {
		bytes_add(&w->out, head, (size_t)snprintf(head, sizeof(head), "*2\r\n$4\r\nLLEN\r\n$%zu\r\n", kn));
		bytes_add(&w->out, key, kn + 2);
		passed(pr, UP, p, k);
		return k;
	}
	if (set.plant == PLANT_REORDER && (took = reorder(w, p, n, k)) > 0) {
		size_t at = 0, m;

		for (; at < took; at += m) {
			m = whole(p + at, took - at);
			passed(pr, UP, p + at, m);
		}
		return took;
	}
	return 0;
}

static size_t plant_down(struct pair *pr, const uint8_t *p, size_t n, size_t k)
{
	struct way *w = &pr->way[DOWN];
	size_t m;

	switch (set.plant) {
	case PLANT_SWAP:
		m = whole(p + k, n - k);
		if (m == 0 || p[k] == '>' || (m == k && memcmp(p, p + k, k) == 0))
			return 0;
		bytes_add(&w->out, p + k, m);
		bytes_add(&w->out, p, k);
		passed(pr, DOWN, p, k);
		passed(pr, DOWN, p + k, m);
		return k + m;
	case PLANT_DROP:
		passed(pr, DOWN, p, k);
		return k;
	case PLANT_DUP:
		bytes_add(&w->out, p, k);
		bytes_add(&w->out, p, k);
		passed(pr, DOWN, p, k);
		return k;
	case PLANT_WORD:
		bytes_add(&w->out, "-NONSUCH of an error\r\n", 22);
		passed(pr, DOWN, p, k);
		return k;
	default:
		return 0;
	}
}

/* With a plant: whole values only go on. */
static void staged(struct pair *pr, int dir, const uint8_t *p, size_t n)
{
	struct way *w = &pr->way[dir];
	size_t k;

	bytes_add(&w->stage, p, n);
	while ((k = whole(w->stage.p + w->stage.at, w->stage.n - w->stage.at)) > 0) {
		const uint8_t *v = w->stage.p + w->stage.at;
		size_t left = w->stage.n - w->stage.at, took = 0;

		if (dir == DOWN && pr->skipping && *v != '>' && w->values == pr->skip) {
			pr->skipping = false;
			w->stage.at += k;
			continue;
		}
		if (w->values > QUIET_VALUES && !pr->subscribed && *v != '>' && below(set.plant_every) == 0)
			took = dir == UP ? plant_up(pr, v, left, k) : plant_down(pr, v, left, k);
		if (took) {
			count.planted++;
			w->stage.at += took;
			continue;
		}
		bytes_add(&w->out, v, k);
		passed(pr, dir, v, k);
		w->stage.at += k;
	}
	if (w->stage.at == w->stage.n)
		w->stage.at = w->stage.n = 0;
}

void plant_took(struct pair *pr, int dir, const uint8_t *p, size_t n)
{
	count.bytes[dir] += n;
	if (set.plant) {
		staged(pr, dir, p, n);
		return;
	}
	bytes_add(&pr->way[dir].out, p, n);
	meter(pr, dir, p, n);
}
