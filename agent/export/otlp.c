/* SPDX-License-Identifier: Apache-2.0 */
/* export/otlp: field numbers of opentelemetry-proto, and nothing else. */
#include <config.h>
#include <stdio.h>
#include "export/otlp.h"
#include "export/pb.h"
#include "export/resource.h"
#include "trace/trace.h"

#define LIT(s) (s), sizeof(s) - 1

/* ---- resource, scope, request ------------------------------------------------------------------------ */

static void put_attr(struct buf *b, unsigned field, const char *key, const char *s, int64_t i,
    enum metric_attr_type type)
{
	size_t klen = strlen(key), vlen = type == METRIC_A_STR ? strlen(s) : 0;
	uint8_t *p;

	if (buf_room(b, PB_KV_ROOM + klen + vlen))
		return;
	p = b->p + b->end;
	if (type == METRIC_A_STR)
		p = pb_kv_str(p, field, key, klen, s, vlen);
	else if (type == METRIC_A_INT)
		p = pb_kv_int(p, field, key, klen, i);
	else
		p = pb_kv_bool(p, field, key, klen, i != 0);
	b->end = (size_t)(p - b->p);
}

int otlp_head_init(struct otlp_head *h, const struct export_resource *r, const char *scope,
    const char *version)
{
	memset(h, 0, sizeof *h);
	for (size_t i = 0; i < r->n; i++)
		put_attr(&h->resource, 1, r->attr[i].key, r->attr[i].value, r->attr[i].i,
		    r->attr[i].is_int ? METRIC_A_INT : METRIC_A_STR);
	pb_put_str(&h->scope, 1, scope);
	pb_put_str(&h->scope, 2, version);
	if (!h->resource.failed && !h->scope.failed)
		return 0;
	otlp_head_free(h);
	return -1;
}

void otlp_head_free(struct otlp_head *h)
{
	buf_free(&h->resource);
	buf_free(&h->scope);
}

static size_t field_len(size_t content)
{
	return 1 + pb_varint_len(content) + content;
}

void otlp_request(struct buf *out, const struct otlp_head *h, const struct buf *body)
{
	size_t scope_items = field_len(buf_len(&h->scope)) + buf_len(body);
	size_t resource_items = field_len(buf_len(&h->resource)) + field_len(scope_items);
	uint8_t tmp[16];

	buf_put(out, tmp, (size_t)(pb_varint(pb_tag(tmp, 1, PB_LEN), resource_items) - tmp));
	pb_put_bytes(out, 1, buf_data(&h->resource), buf_len(&h->resource));
	buf_put(out, tmp, (size_t)(pb_varint(pb_tag(tmp, 2, PB_LEN), scope_items) - tmp));
	pb_put_bytes(out, 1, buf_data(&h->scope), buf_len(&h->scope));
	buf_put(out, buf_data(body), buf_len(body));
}

/* ---- spans ------------------------------------------------------------------------------------------- */

/* Every string of a span is looked up before, so that the room can be made at once. */
struct span_words {
	const char *name, *system, *backend, *project, *address, *transport, *status, *type;
	size_t name_n, system_n, backend_n, project_n, address_n, transport_n, status_n, type_n;
	uint16_t port;
	bool inproc;
};

static size_t len_of(const char **s)
{
	if (!*s)
		*s = "";
	return strlen(*s);
}

static size_t words_of(struct span_words *w, struct metric_reg *names, const struct span *s)
{
	const struct metric_instance *m = metric_instance_of(names, s->instance);
	const struct metric_endpoint *e = metric_endpoint_of(names, s->endpoint);
	struct metric_error err = metric_error_of(names, s->error);

	memset(w, 0, sizeof *w);
	w->name = metric_command_of(names, s->command);
	w->project = metric_project_of(names, s->project);
	w->status = err.status;
	w->type = err.type;
	if (s->op_kind != METRIC_LOCAL) {
		w->system = m ? m->system : "redis";
		w->backend = m ? m->name : NULL;
		w->inproc = m && m->inproc;
		w->address = e ? e->address : NULL;
		w->transport = e ? e->transport : NULL;
		w->port = e ? e->port : 0;
	}
	w->name_n = len_of(&w->name);
	w->system_n = len_of(&w->system);
	w->backend_n = len_of(&w->backend);
	w->project_n = len_of(&w->project);
	w->address_n = len_of(&w->address);
	w->transport_n = len_of(&w->transport);
	w->status_n = len_of(&w->status);
	w->type_n = len_of(&w->type);
	return 2 * w->name_n + w->system_n + w->backend_n + w->project_n + w->address_n +
	    w->transport_n + w->status_n + w->type_n;
}

#define ATTR(key, word) \
	if (w->word##_n) \
		p = pb_kv_str(p, 9, LIT(key), w->word, w->word##_n)

static uint8_t *span_attrs(uint8_t *p, const struct span_words *w, const struct span *s)
{
	char db[4];

	ATTR("db.system.name", system);
	ATTR("db.operation.name", name);
	if (s->op_kind != METRIC_LOCAL && s->db != METRIC_NO_DB)
		p = pb_kv_str(p, 9, LIT("db.namespace"), db, dec_u64(db, s->db));
	if (s->batch >= 2)
		p = pb_kv_int(p, 9, LIT("db.operation.batch.size"), s->batch);
	ATTR("db.response.status_code", status);
	ATTR("error.type", type);
	if (!w->inproc) {
		ATTR("server.address", address);
		if (w->address_n && w->port && w->port != 6379)
			p = pb_kv_int(p, 9, LIT("server.port"), w->port);
		ATTR("network.transport", transport);
	}
	ATTR("purser.backend", backend);
	ATTR("purser.project", project);
	if (s->attempts >= 2)
		p = pb_kv_int(p, 9, LIT("purser.attempts"), s->attempts);
	return p;
}

static bool has_parent(const struct span *s)
{
	static const uint8_t none[8];

	return memcmp(s->parent_id, none, sizeof none) != 0;
}

void otlp_span(struct buf *body, struct metric_reg *names, const struct span *s,
    uint64_t wall_ns)
{
	struct span_words w;
	size_t room = words_of(&w, names, s) + s->text_len + 14 * PB_KV_ROOM + 512, len;
	unsigned kind = s->op_kind == METRIC_LOCAL ? OTLP_SERVER : w.inproc ? OTLP_INTERNAL : OTLP_CLIENT;
	uint8_t *start, *p;

	if (buf_room(body, room))
		return;
	start = pb_tag(body->p + body->end, 2, PB_LEN);
	p = start + 2; /* most spans are 128 .. 16383 bytes: two bytes of length */
	p = pb_bytes(p, 1, s->trace_id, 16);
	p = pb_bytes(p, 2, s->span_id, 8);
	if (s->text_len)
		p = pb_bytes(p, 3, s->text, s->text_len);
	if (has_parent(s))
		p = pb_bytes(p, 4, s->parent_id, 8);
	p = pb_bytes(p, 5, w.name, w.name_n);
	p = pb_uint(p, 6, kind);
	p = pb_fixed64(p, 7, s->start_ns + wall_ns);
	p = pb_fixed64(p, 8, s->end_ns + wall_ns);
	p = span_attrs(p, &w, s);
	if (s->error) {
		*p++ = 15 << 3 | PB_LEN;
		*p++ = 2;
		p = pb_uint(p, 3, 2); /* STATUS_CODE_ERROR; error.type says which */
	}
	p = pb_fixed32(p, 16, s->flags | 0x100u | (s->remote ? 0x200u : 0));
	len = (size_t)(p - start) - 2;
	if (pb_varint_len(len) != 2) {
		memmove(start + pb_varint_len(len), start + 2, len);
		p += (ptrdiff_t)pb_varint_len(len) - 2;
	}
	pb_varint(start, len);
	body->end = (size_t)(p - body->p);
}

/* ---- metrics ----------------------------------------------------------------------------------------- */

static void times(struct buf *b, const struct metric_point *p, uint64_t now_ns)
{
	if (p->start_ns)
		pb_put_fixed64(b, 2, p->start_ns);
	pb_put_fixed64(b, 3, now_ns);
}

static void attrs(struct buf *b, unsigned field, const struct metric_point *p)
{
	for (size_t i = 0; i < p->nattrs; i++)
		put_attr(b, field, p->attrs[i].key, p->attrs[i].s, p->attrs[i].i,
		    (enum metric_attr_type)p->attrs[i].type);
}

void otlp_number(struct buf *b, const struct metric_point *p, uint64_t now_ns, bool is_double)
{
	size_t m = pb_open(b, 1);

	times(b, p, now_ns);
	if (is_double)
		pb_put_double(b, 4, p->d);
	else
		pb_put_fixed64(b, 6, (uint64_t)p->i); /* sfixed64 */
	attrs(b, 7, p);
	pb_close(b, m);
}

void otlp_histogram(struct buf *b, const struct metric_point *p, uint64_t now_ns,
    const double *min, const double *max)
{
	size_t m = pb_open(b, 1), packed;
	uint8_t tmp[8];

	times(b, p, now_ns);
	pb_put_fixed64(b, 4, p->count);
	pb_put_double(b, 5, p->sum);
	packed = pb_open(b, 6);
	for (size_t i = 0; i <= p->nbounds; i++)
		buf_put(b, tmp, (size_t)(pb_le(tmp, p->buckets[i], 8) - tmp));
	pb_close(b, packed);
	packed = pb_open(b, 7);
	for (size_t i = 0; i < p->nbounds; i++)
		buf_put(b, tmp, (size_t)(pb_le(tmp, pb_double_bits(p->bounds[i]), 8) - tmp));
	pb_close(b, packed);
	attrs(b, 9, p);
	if (min)
		pb_put_double(b, 11, *min);
	if (max)
		pb_put_double(b, 12, *max);
	pb_close(b, m);
}

void otlp_metric(struct buf *b, const char *name, const char *doc, const char *unit,
    enum metric_kind kind, const struct buf *points)
{
	static const uint8_t field[] = { 7, 7, 5, 9 };
	size_t m = pb_open(b, 2), data;

	pb_put_str(b, 1, name);
	if (*doc)
		pb_put_str(b, 2, doc);
	if (*unit)
		pb_put_str(b, 3, unit);
	data = pb_open(b, field[kind]);
	buf_put(b, buf_data(points), buf_len(points));
	if (kind != METRIC_GAUGE)
		pb_put_uint(b, 2, OTLP_CUMULATIVE);
	if (kind == METRIC_COUNTER)
		pb_put_uint(b, 3, 1);
	pb_close(b, data);
	pb_close(b, m);
}

struct writer {
	struct buf *body;
	struct buf points;
	const struct metric_row *row;
	uint64_t now_ns;
	uint32_t n;
};

static void on_row(void *arg, enum metric_id id, const struct metric_row *row)
{
	struct writer *w = arg;

	(void)id;
	w->row = row;
	buf_clear(&w->points);
}

static void on_point(void *arg, const struct metric_point *p)
{
	struct writer *w = arg;

	if (w->row->kind == METRIC_HISTOGRAM)
		otlp_histogram(&w->points, p, w->now_ns, NULL, NULL);
	else
		otlp_number(&w->points, p, w->now_ns, w->row->value == METRIC_DOUBLE);
	w->n++;
}

static void on_end(void *arg)
{
	struct writer *w = arg;

	if (w->points.failed)
		w->body->failed = true;
	otlp_metric(w->body, w->row->name, w->row->doc, w->row->unit, (enum metric_kind)w->row->kind,
	    &w->points);
}

int otlp_metrics(struct buf *body, struct metric_reg *r, uint64_t now_wall_ns, uint32_t *points)
{
	struct writer w = { .body = body, .now_ns = now_wall_ns };
	struct metric_visitor v = { on_row, on_point, on_end, &w };
	int rc = metric_read(r, &v);

	*points = w.n;
	if (body->failed)
		rc = -1;
	buf_free(&w.points);
	return rc;
}

/* ---- replies ----------------------------------------------------------------------------------------- */

static void take_text(const struct pb_field *f, char *dst, size_t cap)
{
	size_t n = f->n < cap - 1 ? f->n : cap - 1;

	memcpy(dst, f->p, n);
	dst[n] = '\0';
}

int otlp_partial(const void *body, size_t n, int64_t *rejected, char *message, size_t cap)
{
	const uint8_t *p = body, *end, *q, *stop;
	struct pb_field f, g;
	int rc, inner;

	*rejected = 0;
	*message = '\0';
	if (!n)
		return 0;
	end = p + n;
	while ((rc = pb_next(&p, end, &f)) > 0) {
		if (f.field != 1 || f.wire != PB_LEN)
			continue;
		for (q = f.p, stop = f.p + f.n; (inner = pb_next(&q, stop, &g)) > 0;) {
			if (g.field == 1 && g.wire == PB_VARINT)
				*rejected = (int64_t)g.v;
			else if (g.field == 2 && g.wire == PB_LEN)
				take_text(&g, message, cap);
		}
		if (inner < 0)
			return -1;
	}
	return rc;
}

void otlp_status(const void *body, size_t n, char *message, size_t cap)
{
	const uint8_t *p = body, *end;
	struct pb_field f;

	*message = '\0';
	if (!n)
		return;
	end = p + n;
	while (pb_next(&p, end, &f) > 0)
		if (f.field == 2 && f.wire == PB_LEN)
			take_text(&f, message, cap);
}
