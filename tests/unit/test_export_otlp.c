/* SPDX-License-Identifier: Apache-2.0 */
/* export/otlp: the bytes that protoc makes of the official definitions, and what collectors answer. */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/errors.h"
#include "export/otlp.h"
#include "export/pb.h"
#include "export/resource.h"
#include "trace/trace.h"

static void assert_hex(const struct buf *b, const char *want)
{
	char *got = calloc(1, 2 * buf_len(b) + 1);

	assert_non_null(got);
	assert_false(b->failed);
	for (size_t i = 0; i < buf_len(b); i++)
		snprintf(got + 2 * i, 3, "%02x", buf_data(b)[i]);
	assert_string_equal(got, want);
	free(got);
}

static const char *command(uint16_t id)
{
	static const char *const names[] = { "GET", "SET" };

	return id < 2 ? names[id] : "";
}

/* The vector has no attributes: it is put together from the same parts. */
static void test_trace_vector(void **state)
{
	static struct export_attr name = { (char *)"service.name", (char *)"a", 0, false };
	struct export_resource r = { .attr = { name }, .n = 1 };
	struct otlp_head h;
	struct buf body = { .max = 0 }, out = { .max = 0 };
	uint8_t tmp[256], *p = tmp, trace[16], span[8];
	size_t m;

	(void)state;
	for (int i = 0; i < 16; i++)
		trace[i] = (uint8_t)(i + 1);
	for (int i = 0; i < 8; i++)
		span[i] = (uint8_t)(0xa1 + i);
	assert_int_equal(otlp_head_init(&h, &r, "s", "1"), 0);
	m = pb_open(&body, 2);
	p = pb_bytes(p, 1, trace, 16);
	p = pb_bytes(p, 2, span, 8);
	p = pb_bytes(p, 5, "GET", 3);
	p = pb_uint(p, 6, OTLP_CLIENT);
	p = pb_fixed64(p, 7, UINT64_C(1700000000000000000));
	p = pb_fixed64(p, 8, UINT64_C(1700000000001000000));
	buf_put(&body, tmp, (size_t)(p - tmp));
	{
		size_t s = pb_open(&body, 15);

		pb_put_uint(&body, 3, 2);
		pb_close(&body, s);
	}
	p = pb_fixed32(tmp, 16, 0x101);
	buf_put(&body, tmp, (size_t)(p - tmp));
	pb_close(&body, m);
	otlp_request(&out, &h, &body);
	assert_hex(&out, "0a620a150a130a0c736572766963652e6e616d6512030a016112490a060a0173120131123f0a10"
	    "0102030405060708090a0b0c0d0e0f101208a1a2a3a4a5a6a7a82a0347455430033900002a36fe9c97174140"
	    "423936fe9c97177a021802850101010000");
	otlp_head_free(&h);
	buf_free(&body);
	buf_free(&out);
}

/* The vectors of metrics are ResourceMetrics without resource and with an empty scope. */
static void wrap(struct buf *out, const struct buf *metric)
{
	size_t a = pb_open(out, 1), b = pb_open(out, 2);

	buf_put(out, buf_data(metric), buf_len(metric));
	pb_close(out, b);
	pb_close(out, a);
}

static void test_metric_vectors(void **state)
{
	struct buf points = { .max = 0 }, metric = { .max = 0 }, out = { .max = 0 };
	struct metric_point p = { .start_ns = 1, .i = -1 };
	static const uint64_t counts[] = { 1, 2 };
	static const double bounds[] = { 0.5 }, zero = 0, one = 1;

	(void)state;
	otlp_number(&points, &p, 2, false);
	otlp_metric(&metric, "c", "", "{x}", METRIC_COUNTER, &points);
	wrap(&out, &metric);
	assert_hex(&out, "0a2f122d122b0a01631a037b787d3a210a1b11010000000000000019020000000000000031ffff"
	    "ffffffffffff10021801");
	buf_clear(&points);
	buf_clear(&metric);
	buf_clear(&out);
	/* a zero in a oneof is written: it says which */
	p = (struct metric_point){ .i = 0 };
	otlp_number(&points, &p, 2, false);
	otlp_number(&points, &p, 2, true);
	otlp_metric(&metric, "g", "", "", METRIC_GAUGE, &points);
	wrap(&out, &metric);
	assert_hex(&out, "0a31122f122d0a01672a280a121902000000000000003100000000000000000a1219020000000000"
	    "0000210000000000000000");
	buf_clear(&points);
	buf_clear(&metric);
	buf_clear(&out);
	p = (struct metric_point){ .start_ns = 1, .count = 3, .sum = 0, .bounds = bounds, .buckets = counts,
		.nbounds = 1 };
	otlp_histogram(&points, &p, 2, &zero, &one);
	otlp_metric(&metric, "h", "", "s", METRIC_HISTOGRAM, &points);
	wrap(&out, &metric);
	assert_hex(&out, "0a621260125e0a01681a01734a560a521101000000000000001902000000000000002103000000"
	    "000000002900000000000000003210010000000000000002000000000000003a08000000000000e03f590000"
	    "00000000000061000000000000f03f1002");
	buf_free(&points);
	buf_free(&metric);
	buf_free(&out);
}

/* The forms that only exponential histograms and logs use. */
static void test_other_vectors(void **state)
{
	struct buf out = { .max = 0 };
	size_t a = pb_open(&out, 1), b = pb_open(&out, 2), c = pb_open(&out, 2), d, e, f;
	uint8_t tmp[16];

	(void)state;
	pb_put_str(&out, 1, "e");
	d = pb_open(&out, 10);
	e = pb_open(&out, 1);
	pb_put_fixed64(&out, 3, 2);
	pb_put_fixed64(&out, 4, 300);
	pb_put_uint(&out, 6, pb_zigzag(-1));
	f = pb_open(&out, 8);
	pb_put_uint(&out, 1, pb_zigzag(-2));
	pb_put_bytes(&out, 2, tmp, (size_t)(pb_varint(pb_varint(tmp, 299), 1) - tmp));
	pb_close(&out, f);
	pb_close(&out, e);
	pb_put_uint(&out, 2, 1);
	pb_close(&out, d);
	pb_close(&out, c);
	pb_close(&out, b);
	pb_close(&out, a);
	assert_hex(&out, "0a2a122812260a016552210a1d190200000000000000212c010000000000003001420708031203"
	    "ab02011001");
	buf_clear(&out);
	/* a log record; n=-1 takes ten bytes (not zigzag), z=0 is written, e has no value */
	a = pb_open(&out, 1);
	b = pb_open(&out, 2);
	c = pb_open(&out, 2);
	pb_put_fixed64(&out, 1, 1);
	pb_put_uint(&out, 2, 9);
	pb_put_str(&out, 3, "INFO");
	d = pb_open(&out, 5);
	pb_put_str(&out, 1, "hi");
	pb_close(&out, d);
	{
		uint8_t kv[64], *p = pb_kv_int(kv, 6, "n", 1, -1);

		p = pb_kv_int(p, 6, "z", 1, 0);
		buf_put(&out, kv, (size_t)(p - kv));
	}
	d = pb_open(&out, 6);
	pb_put_str(&out, 1, "e");
	pb_close(&out, d);
	pb_put_fixed64(&out, 11, 2);
	pb_put_str(&out, 12, "ev");
	pb_close(&out, c);
	pb_close(&out, b);
	pb_close(&out, a);
	assert_hex(&out, "0a481246124409010000000000000010091a04494e464f2a040a02686932100a016e120b18ffffff"
	    "ffffffffffff0132070a017a1202180032030a016559020000000000000062026576");
	buf_free(&out);
}

static void test_answers(void **state)
{
	static const uint8_t rejected[] = { 0x0a, 0x07, 0x08, 0x03, 0x12, 0x03, 'b', 'a', 'd' },
		full[] = { 0x0a, 0x00 }, warning[] = { 0x0a, 0x03, 0x12, 0x01, 'w' },
		status[] = { 0x08, 0x03, 0x12, 0x02, 'n', 'o' }, junk[] = { 0x0a, 0x7f, 1 },
		future[] = { 0x10, 0x05, 0x0a, 0x02, 0x08, 0x01, 0x1d, 1, 2, 3, 4 };
	int64_t n;
	char text[64];

	(void)state;
	assert_int_equal(otlp_partial(rejected, sizeof rejected, &n, text, sizeof text), 0);
	assert_int_equal(n, 3);
	assert_string_equal(text, "bad");
	assert_int_equal(otlp_partial(full, sizeof full, &n, text, sizeof text), 0);
	assert_int_equal(n, 0);
	assert_string_equal(text, "");
	assert_int_equal(otlp_partial(warning, sizeof warning, &n, text, sizeof text), 0);
	assert_int_equal(n, 0);
	assert_string_equal(text, "w");
	assert_int_equal(otlp_partial(NULL, 0, &n, text, sizeof text), 0);
	assert_int_equal(otlp_partial(future, sizeof future, &n, text, sizeof text), 0);
	assert_int_equal(n, 1);
	assert_int_equal(otlp_partial(junk, sizeof junk, &n, text, sizeof text), -1);
	otlp_status(status, sizeof status, text, sizeof text);
	assert_string_equal(text, "no");
	otlp_status(junk, sizeof junk, text, sizeof text);
	assert_string_equal(text, "");
}

/* ---- whole spans ------------------------------------------------------------------------------------- */

struct decoded {
	char attrs[1024];
	uint64_t kind, flags, start, end, status;
	size_t name_n, state_n, parent_n;
};

static void decode_kv(struct pb_field f, char *dst, size_t cap)
{
	struct pb_field k = { 0 }, any = { 0 }, v = { 0 };
	const uint8_t *p = f.p, *end = f.p + f.n;

	assert_int_equal(pb_next(&p, end, &k), 1);
	assert_int_equal(pb_next(&p, end, &any), 1);
	assert_int_equal(pb_next(&p, end, &v), 0);
	p = any.p;
	assert_int_equal(pb_next(&p, any.p + any.n, &v), 1);
	if (v.wire == PB_LEN)
		snprintf(dst + strlen(dst), cap - strlen(dst), "%.*s=%.*s ", (int)k.n, k.p, (int)v.n, v.p);
	else
		snprintf(dst + strlen(dst), cap - strlen(dst), "%.*s=#%d ", (int)k.n, k.p, (int)v.v);
}

static void decode_span(const struct buf *b, struct decoded *d)
{
	struct pb_field f;
	const uint8_t *p = buf_data(b), *end = p + buf_len(b);
	int rc;

	memset(d, 0, sizeof *d);
	assert_int_equal(pb_next(&p, end, &f), 1);
	assert_int_equal(f.field, 2);
	assert_int_equal(pb_next(&p, end, &f), 0);
	p = buf_data(b);
	pb_next(&p, end, &f);
	p = f.p;
	end = f.p + f.n;
	while ((rc = pb_next(&p, end, &f)) > 0) {
		switch (f.field) {
		case 3: d->state_n = f.n; break;
		case 4: d->parent_n = f.n; break;
		case 5: d->name_n = f.n; break;
		case 6: d->kind = f.v; break;
		case 7: d->start = f.v; break;
		case 8: d->end = f.v; break;
		case 9: decode_kv(f, d->attrs, sizeof d->attrs); break;
		case 15: d->status = f.p[1]; break;
		case 16: d->flags = f.v; break;
		}
	}
	assert_int_equal(rc, 0);
}

static void test_spans(void **state)
{
	struct metric_opts o = { .command = command };
	struct metric_reg *r = metric_new(&o);
	struct metric_shard *sh = metric_shard_new(r);
	struct metric_instance redis = { .name = "main" }, memory = { .name = "scratch", .inproc = true };
	struct span s = { .trace_id = { 1 }, .span_id = { 2 }, .start_ns = 10, .end_ns = 30, .flags = 3 };
	struct buf b = { .max = 0 };
	struct decoded d;

	(void)state;
	s.instance = metric_instance(r, &redis);
	s.project = metric_project(r, "shop");
	s.endpoint = metric_endpoint(r, "10.0.0.1", 6379, "tcp");
	otlp_span(&b, r, &s, 1000);
	decode_span(&b, &d);
	assert_int_equal(d.kind, OTLP_CLIENT);
	assert_int_equal(d.flags, 0x103);
	assert_int_equal(d.start, 1010);
	assert_int_equal(d.end, 1030);
	assert_int_equal(d.parent_n, 0);
	assert_int_equal(d.name_n, 3);
	assert_int_equal(d.status, 0);
	assert_string_equal(d.attrs, "db.system.name=redis db.operation.name=GET db.namespace=0 "
	    "server.address=10.0.0.1 network.transport=tcp purser.backend=main purser.project=shop ");
	/* a failure, a remote parent, another port, a batch, tracestate */
	buf_clear(&b);
	s.endpoint = metric_endpoint(r, "10.0.0.1", 7000, "tcp");
	s.parent_id[0] = 9;
	s.remote = 1;
	s.batch = 4;
	s.attempts = 3;
	s.db = 15;
	s.error = metric_error(sh, "WRONGTYPE x", 11);
	s.text_len = 5;
	memcpy(s.text, "a=b,c", 5);
	otlp_span(&b, r, &s, 0);
	decode_span(&b, &d);
	assert_int_equal(d.flags, 0x303);
	assert_int_equal(d.parent_n, 8);
	assert_int_equal(d.state_n, 5);
	assert_int_equal(d.status, 2);
	assert_string_equal(d.attrs, "db.system.name=redis db.operation.name=GET db.namespace=15 "
	    "db.operation.batch.size=#4 db.response.status_code=WRONGTYPE error.type=WRONGTYPE "
	    "server.address=10.0.0.1 server.port=#7000 network.transport=tcp purser.backend=main "
	    "purser.project=shop purser.attempts=#3 ");
	/* in this process */
	buf_clear(&b);
	s = (struct span){ .instance = metric_instance(r, &memory), .project = 0xffff, .db = METRIC_NO_DB,
		.error = ERR_TIMEOUT, .endpoint = s.endpoint };
	otlp_span(&b, r, &s, 0);
	decode_span(&b, &d);
	assert_int_equal(d.kind, OTLP_INTERNAL);
	assert_string_equal(d.attrs, "db.system.name=redis db.operation.name=GET error.type=timeout "
	    "purser.backend=scratch ");
	/* answered by the agent itself */
	buf_clear(&b);
	s = (struct span){ .op_kind = METRIC_LOCAL, .command = 1, .project = 0 };
	otlp_span(&b, r, &s, 0);
	decode_span(&b, &d);
	assert_int_equal(d.kind, OTLP_SERVER);
	assert_string_equal(d.attrs, "db.operation.name=SET purser.project=shop ");
	/* a buffer that is full is an error, not half a span */
	buf_free(&b);
	b.max = 100;
	otlp_span(&b, r, &s, 0);
	assert_true(b.failed);
	buf_free(&b);
	metric_free(r);
}

/* Lengths around the places where a varint grows. */
static void test_lengths(void **state)
{
	struct metric_opts o = { .command = command };
	struct metric_reg *r = metric_new(&o);
	char name[20000];

	(void)state;
	for (size_t n = 1; n < sizeof name; n += n < 400 ? 1 : 1777) {
		struct buf b = { .max = 0 };
		struct span s = { .db = METRIC_NO_DB, .command = 9, .endpoint = 0 };
		struct metric_instance m = { .name = name };
		struct decoded d;

		memset(name, 'n', n);
		name[n] = '\0';
		s.instance = metric_instance(r, &m);
		otlp_span(&b, r, &s, 0);
		decode_span(&b, &d);
		assert_int_equal(d.kind, OTLP_CLIENT);
		buf_free(&b);
	}
	metric_free(r);
}

static void test_metrics(void **state)
{
	struct metric_opts o = { .command = command, .start_wall_ns = 5 };
	struct metric_reg *r = metric_new(&o);
	struct metric_shard *s = metric_shard_new(r);
	struct buf b = { .max = 0 };
	const uint8_t *p, *end;
	struct pb_field f, g;
	uint32_t points = 0;
	unsigned metrics = 0;
	bool seen = false;

	(void)state;
	metric_op_record(metric_op(s, (struct metric_key){ .kind = METRIC_OP }), 1000, 1, 1);
	assert_int_equal(otlp_metrics(&b, r, 77, &points), 0);
	for (p = buf_data(&b), end = p + buf_len(&b); pb_next(&p, end, &f) > 0; metrics++) {
		const uint8_t *q = f.p;

		assert_int_equal(f.field, 2);
		assert_int_equal(pb_next(&q, f.p + f.n, &g), 1);
		assert_int_equal(g.field, 1);
		seen |= g.n == 28 && memcmp(g.p, "db.client.operation.duration", 28) == 0;
	}
	assert_ptr_equal(p, end);
	assert_true(seen);
	assert_true(points >= metrics && metrics >= 8);
	buf_free(&b);
	b.max = 200;
	assert_int_equal(otlp_metrics(&b, r, 77, &points), -1);
	buf_free(&b);
	metric_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trace_vector),
		cmocka_unit_test(test_metric_vectors),
		cmocka_unit_test(test_other_vectors),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_spans),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_metrics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
