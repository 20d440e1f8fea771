/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <math.h>
#include <stdio.h>
#include "export/json.h"
#include "export/pb.h"
#include "resp/json_text.h"

enum kind { MESSAGE, STRING, HEX, U64, I64, FIXED64, SFIXED64, DOUBLE, NUMBER, SINT32, BOOL, FIXED64S, DOUBLES, U64S };

struct field {
	uint8_t number, kind;
	bool many;
	const char *name;
	const struct field *of; /* MESSAGE */
};

#define END { 0, 0, false, NULL, NULL }

/* opentelemetry-proto v1.5; the order is that of the output. */
static const struct field any_value[7], key_value[3];
static const struct field array_value[] = { { 1, MESSAGE, true, "values", any_value }, END };
static const struct field kvlist[] = { { 1, MESSAGE, true, "values", key_value }, END };
static const struct field any_value[7] = { { 1, STRING, false, "stringValue", NULL }, { 2, BOOL, false, "boolValue", NULL },
	{ 3, I64, false, "intValue", NULL }, { 4, DOUBLE, false, "doubleValue", NULL },
	{ 5, MESSAGE, false, "arrayValue", array_value }, { 6, MESSAGE, false, "kvlistValue", kvlist }, END };
static const struct field key_value[3] = { { 1, STRING, false, "key", NULL }, { 2, MESSAGE, false, "value", any_value }, END };
static const struct field resource[] = { { 1, MESSAGE, true, "attributes", key_value }, END };
static const struct field scope[] = { { 1, STRING, false, "name", NULL }, { 2, STRING, false, "version", NULL },
	{ 3, MESSAGE, true, "attributes", key_value }, END };
static const struct field status[] = { { 2, STRING, false, "message", NULL }, { 3, NUMBER, false, "code", NULL }, END };
static const struct field event[] = { { 1, FIXED64, false, "timeUnixNano", NULL }, { 2, STRING, false, "name", NULL },
	{ 3, MESSAGE, true, "attributes", key_value }, { 4, NUMBER, false, "droppedAttributesCount", NULL }, END };
static const struct field link_[] = { { 1, HEX, false, "traceId", NULL }, { 2, HEX, false, "spanId", NULL },
	{ 3, STRING, false, "traceState", NULL }, { 4, MESSAGE, true, "attributes", key_value },
	{ 6, NUMBER, false, "flags", NULL }, END };
static const struct field span[] = { { 1, HEX, false, "traceId", NULL }, { 2, HEX, false, "spanId", NULL },
	{ 3, STRING, false, "traceState", NULL }, { 4, HEX, false, "parentSpanId", NULL }, { 16, NUMBER, false, "flags", NULL },
	{ 5, STRING, false, "name", NULL }, { 6, NUMBER, false, "kind", NULL }, { 7, FIXED64, false, "startTimeUnixNano", NULL },
	{ 8, FIXED64, false, "endTimeUnixNano", NULL }, { 9, MESSAGE, true, "attributes", key_value },
	{ 10, NUMBER, false, "droppedAttributesCount", NULL }, { 11, MESSAGE, true, "events", event },
	{ 12, NUMBER, false, "droppedEventsCount", NULL }, { 13, MESSAGE, true, "links", link_ },
	{ 14, NUMBER, false, "droppedLinksCount", NULL }, { 15, MESSAGE, false, "status", status }, END };
static const struct field exemplar[] = { { 7, MESSAGE, true, "filteredAttributes", key_value },
	{ 2, FIXED64, false, "timeUnixNano", NULL }, { 3, DOUBLE, false, "asDouble", NULL }, { 6, SFIXED64, false, "asInt", NULL },
	{ 4, HEX, false, "spanId", NULL }, { 5, HEX, false, "traceId", NULL }, END };
static const struct field number_point[] = { { 7, MESSAGE, true, "attributes", key_value },
	{ 2, FIXED64, false, "startTimeUnixNano", NULL }, { 3, FIXED64, false, "timeUnixNano", NULL },
	{ 4, DOUBLE, false, "asDouble", NULL }, { 6, SFIXED64, false, "asInt", NULL }, { 5, MESSAGE, true, "exemplars", exemplar },
	{ 8, NUMBER, false, "flags", NULL }, END };
static const struct field histogram_point[] = { { 9, MESSAGE, true, "attributes", key_value },
	{ 2, FIXED64, false, "startTimeUnixNano", NULL }, { 3, FIXED64, false, "timeUnixNano", NULL },
	{ 4, FIXED64, false, "count", NULL }, { 5, DOUBLE, false, "sum", NULL }, { 6, FIXED64S, false, "bucketCounts", NULL },
	{ 7, DOUBLES, false, "explicitBounds", NULL }, { 8, MESSAGE, true, "exemplars", exemplar },
	{ 10, NUMBER, false, "flags", NULL }, { 11, DOUBLE, false, "min", NULL }, { 12, DOUBLE, false, "max", NULL }, END };
static const struct field buckets[] = { { 1, SINT32, false, "offset", NULL }, { 2, U64S, false, "bucketCounts", NULL }, END };
static const struct field exponential_point[] = { { 1, MESSAGE, true, "attributes", key_value },
	{ 2, FIXED64, false, "startTimeUnixNano", NULL }, { 3, FIXED64, false, "timeUnixNano", NULL },
	{ 4, FIXED64, false, "count", NULL }, { 5, DOUBLE, false, "sum", NULL }, { 6, SINT32, false, "scale", NULL },
	{ 7, FIXED64, false, "zeroCount", NULL }, { 8, MESSAGE, false, "positive", buckets },
	{ 9, MESSAGE, false, "negative", buckets }, { 10, NUMBER, false, "flags", NULL },
	{ 11, MESSAGE, true, "exemplars", exemplar }, { 12, DOUBLE, false, "min", NULL }, { 13, DOUBLE, false, "max", NULL },
	{ 14, DOUBLE, false, "zeroThreshold", NULL }, END };
static const struct field gauge[] = { { 1, MESSAGE, true, "dataPoints", number_point }, END };
static const struct field sum[] = { { 1, MESSAGE, true, "dataPoints", number_point },
	{ 2, NUMBER, false, "aggregationTemporality", NULL }, { 3, BOOL, false, "isMonotonic", NULL }, END };
static const struct field histogram[] = { { 1, MESSAGE, true, "dataPoints", histogram_point },
	{ 2, NUMBER, false, "aggregationTemporality", NULL }, END };
static const struct field exponential[] = { { 1, MESSAGE, true, "dataPoints", exponential_point },
	{ 2, NUMBER, false, "aggregationTemporality", NULL }, END };
static const struct field metric[] = { { 1, STRING, false, "name", NULL }, { 2, STRING, false, "description", NULL },
	{ 3, STRING, false, "unit", NULL }, { 5, MESSAGE, false, "gauge", gauge }, { 7, MESSAGE, false, "sum", sum },
	{ 9, MESSAGE, false, "histogram", histogram }, { 10, MESSAGE, false, "exponentialHistogram", exponential }, END };
static const struct field record[] = { { 1, FIXED64, false, "timeUnixNano", NULL },
	{ 11, FIXED64, false, "observedTimeUnixNano", NULL }, { 2, NUMBER, false, "severityNumber", NULL },
	{ 3, STRING, false, "severityText", NULL }, { 12, STRING, false, "eventName", NULL },
	{ 5, MESSAGE, false, "body", any_value }, { 6, MESSAGE, true, "attributes", key_value },
	{ 7, NUMBER, false, "droppedAttributesCount", NULL }, { 8, NUMBER, false, "flags", NULL },
	{ 9, HEX, false, "traceId", NULL }, { 10, HEX, false, "spanId", NULL }, END };

#define SIGNAL(word, all, scopes, items, of) \
	static const struct field word##_scope[] = { { 1, MESSAGE, false, "scope", scope }, { 2, MESSAGE, true, items, of }, \
		{ 3, STRING, false, "schemaUrl", NULL }, END }; \
	static const struct field word##_resource[] = { { 1, MESSAGE, false, "resource", resource }, \
		{ 2, MESSAGE, true, scopes, word##_scope }, { 3, STRING, false, "schemaUrl", NULL }, END }; \
	static const struct field word[] = { { 1, MESSAGE, true, all, word##_resource }, END }
SIGNAL(traces, "resourceSpans", "scopeSpans", "spans", span);
SIGNAL(metrics, "resourceMetrics", "scopeMetrics", "metrics", metric);
SIGNAL(logs, "resourceLogs", "scopeLogs", "logRecords", record);

/* ---- values ---- */

static int message(struct buf *out, const struct field *fields, const uint8_t *p, size_t n);

static void put_hex(struct buf *out, const uint8_t *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	buf_putc(out, '"');
	for (size_t i = 0; i < n; i++) {
		buf_putc(out, digits[p[i] >> 4]);
		buf_putc(out, digits[p[i] & 15]);
	}
	buf_putc(out, '"');
}

static void put_double(struct buf *out, uint64_t bits)
{
	union { uint64_t u; double d; } v = { .u = bits };

	if (isnan(v.d))
		buf_puts(out, "\"NaN\"");
	else if (isinf(v.d))
		buf_puts(out, v.d > 0 ? "\"Infinity\"" : "\"-Infinity\"");
	else
		buf_printf(out, "%.17g", v.d);
}

static void put_text_number(struct buf *out, uint64_t v, bool is_signed)
{
	buf_putc(out, '"');
	if (is_signed)
		buf_puti(out, (int64_t)v);
	else
		buf_putu(out, v);
	buf_putc(out, '"');
}

static uint64_t le64(const uint8_t *p)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 8; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

static int packed(struct buf *out, enum kind k, const uint8_t *p, size_t n)
{
	const uint8_t *end = p + n;
	const char *comma = "";

	buf_putc(out, '[');
	while (p < end) {
		uint64_t v = 0;

		buf_puts(out, comma);
		comma = ",";
		if (k == U64S) {
			unsigned shift = 0;

			do {
				if (p == end || shift > 63)
					return -1;
				v |= (uint64_t)(*p & 0x7f) << shift;
				shift += 7;
			} while (*p++ & 0x80);
		} else {
			if (end - p < 8)
				return -1;
			v = le64(p);
			p += 8;
		}
		if (k == DOUBLES)
			put_double(out, v);
		else
			put_text_number(out, v, false);
	}
	buf_putc(out, ']');
	return 0;
}

static unsigned wire_of(enum kind k)
{
	switch (k) {
	case MESSAGE: case STRING: case HEX: case FIXED64S: case DOUBLES: case U64S:
		return PB_LEN;
	case FIXED64: case SFIXED64: case DOUBLE:
		return PB_64;
	default:
		return PB_VARINT;
	}
}

static int value(struct buf *out, const struct field *f, const struct pb_field *v)
{
	if (v->wire != wire_of((enum kind)f->kind) && !(f->kind == NUMBER && v->wire == PB_32))
		return -1;
	switch ((enum kind)f->kind) {
	case MESSAGE:
		return message(out, f->of, v->p, v->n);
	case STRING:
		json_put_text(out, v->p, v->n);
		return 0;
	case HEX:
		put_hex(out, v->p, v->n);
		return 0;
	case U64:
	case FIXED64:
		put_text_number(out, v->v, false);
		return 0;
	case I64:
	case SFIXED64:
		put_text_number(out, v->v, true);
		return 0;
	case DOUBLE:
		put_double(out, v->v);
		return 0;
	case NUMBER:
		buf_putu(out, v->v);
		return 0;
	case SINT32:
		buf_puti(out, (int64_t)(v->v >> 1) ^ -(int64_t)(v->v & 1));
		return 0;
	case BOOL:
		buf_puts(out, v->v ? "true" : "false");
		return 0;
	case FIXED64S:
	case DOUBLES:
	case U64S:
		return packed(out, (enum kind)f->kind, v->p, v->n);
	}
	return -1;
}

/* ---- messages ---- */

static bool known(const struct field *fields, unsigned number)
{
	while (fields->name && fields->number != number)
		fields++;
	return fields->name != NULL;
}

/* All of one field, in order; for one that is no list the last one counts, as in protobuf. */
static int one_field(struct buf *out, const struct field *f, const uint8_t *p, const uint8_t *end, bool *any)
{
	struct pb_field v, last = { .field = 0 };
	unsigned n = 0;
	int rc;

	while ((rc = pb_next(&p, end, &v)) > 0) {
		if (v.field != f->number)
			continue;
		last = v;
		if (n++ == 0) {
			buf_puts(out, *any ? ",\"" : "\"");
			buf_puts(out, f->name);
			buf_puts(out, f->many ? "\":[" : "\":");
			*any = true;
		} else if (f->many) {
			buf_putc(out, ',');
		}
		if (f->many && value(out, f, &v))
			return -1;
	}
	if (rc < 0)
		return -1;
	if (n && f->many)
		buf_putc(out, ']');
	return n && !f->many ? value(out, f, &last) : 0;
}

static int message(struct buf *out, const struct field *fields, const uint8_t *p, size_t n)
{
	const uint8_t *at = p, *end = n ? p + n : p;
	struct pb_field v;
	bool any = false;
	int rc;

	while ((rc = pb_next(&at, end, &v)) > 0)
		if (!known(fields, v.field))
			return -1;
	if (rc < 0)
		return -1;
	buf_putc(out, '{');
	for (; fields->name; fields++)
		if (one_field(out, fields, p, end, &any))
			return -1;
	buf_putc(out, '}');
	return 0;
}

int json_request(struct buf *out, enum export_signal s, const void *p, size_t n)
{
	const struct field *of = s == EXPORT_TRACES ? traces : s == EXPORT_METRICS ? metrics : logs;

	return message(out, of, p, n) || out->failed ? -1 : 0;
}
