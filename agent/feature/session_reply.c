/* SPDX-License-Identifier: Apache-2.0
 *
 * What the store holds of a session, as fields and as one JSON object.
 */
#include <config.h>
#include <purser/resp.h>
#include <string.h>
#include "feature/session.h"
#include "resp/json_text.h"
#include "resp/pick.h"

int session_int(const uint8_t **p, const uint8_t *end, int64_t *v)
{
	return resp_pick_header(p, end, ':', v);
}

static bool is(purser_bytes w, const char *name)
{
	size_t n = strlen(name);

	return w.n == n && memcmp(w.p, name, n) == 0;
}

/* name and value of a hash that is no field of the data: true if the value is what it should be. */
static bool known(struct session_got *g, purser_bytes name, purser_bytes value)
{
	int64_t *to = is(name, "v") ? &g->version : is(name, "created") ? &g->created : is(name, "seen") ? &g->seen :
	    is(name, "exp") ? &g->exp : is(name, "abs") ? &g->abs : is(name, "idle") ? &g->idle : NULL;

	if (to)
		return purser_resp_int(value.p, value.n, to) == 0;
	if (is(name, "uid"))
		g->user = value;
	else if (is(name, "rot"))
		g->rotated = true;
	return true;
}

static size_t escaped(purser_bytes name)
{
	return 6 * name.n + 4; /* each byte \u00XX, two quotes, colon, comma */
}

/* "name": as json_put_string() writes it, which needs a buffer of its own: names are short. */
static uint8_t *put_name(uint8_t *d, purser_bytes name)
{
	static const char hex[] = "0123456789abcdef";

	*d++ = '"';
	for (size_t i = 0; i < name.n; i++) {
		uint8_t c = name.p[i];

		if (c == '"' || c == '\\') {
			*d++ = '\\';
			*d++ = c;
		} else if (c < 0x20) {
			d = (uint8_t *)memcpy(d, "\\u00", 4) + 4;
			*d++ = (uint8_t)hex[c >> 4];
			*d++ = (uint8_t)hex[c & 15];
		} else {
			*d++ = c;
		}
	}
	*d++ = '"';
	*d++ = ':';
	return d;
}

int session_read(const uint8_t *resp, size_t n, struct arena *a, struct session_got *g)
{
	const uint8_t *p = resp, *end = resp + n;
	size_t room = 3;
	uint8_t *data, *d;
	int64_t pairs;

	memset(g, 0, sizeof *g);
	g->data = (purser_bytes){ (const uint8_t *)"{}", 2 };
	if (resp_pick_header(&p, end, '%', &pairs)) {
		if (resp_pick_header(&p, end, '*', &pairs) || pairs % 2)
			return -1;
		pairs /= 2;
	}
	if (pairs <= 0)
		return pairs ? -1 : 0;
	resp = p;
	for (int64_t i = 0; i < pairs; i++) {
		purser_bytes name, value;

		if (resp_pick_bulk(&p, end, &name) || resp_pick_bulk(&p, end, &value))
			return -1;
		if (name.n >= 2 && memcmp(name.p, "d:", 2) == 0)
			room += escaped(name) + value.n;
		else if (!known(g, name, value))
			return -1;
	}
	g->there = !g->rotated && g->version > 0;
	if (!g->there || room == 3)
		return g->there || g->rotated ? 0 : -1;
	data = d = arena_get(a, room);
	if (!data)
		return -2;
	*d++ = '{';
	for (p = resp; pairs--;) {
		purser_bytes name, value;

		if (resp_pick_bulk(&p, end, &name) || resp_pick_bulk(&p, end, &value))
			return -1;
		if (name.n < 2 || memcmp(name.p, "d:", 2) != 0)
			continue;
		if (d > data + 1)
			*d++ = ',';
		d = put_name(d, (purser_bytes){ name.p + 2, name.n - 2 });
		d = (uint8_t *)memcpy(d, value.p, value.n) + value.n;
	}
	*d++ = '}';
	g->data = (purser_bytes){ data, (size_t)(d - data) };
	return 0;
}
