/* SPDX-License-Identifier: Apache-2.0 */
/* export/shape: the three forms of OTLP.  Requests wait as protobuf, packed or not; here they become what the target of
 * their signal speaks: the same over HTTP, JSON over HTTP, or a frame of gRPC, which is HTTP/2 with a head of five bytes
 * and a status in the trailers.  And one line of JSON for standard output. */
#include <config.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "export/inside.h"
#include "export/json.h"
#include "export/pb.h"
#include "resp/json_text.h"

/* ---- a request ---- */

int shape_gunzip(struct buf *out, const struct buf *in, size_t max)
{
	z_stream z = { .next_in = buf_data(in), .avail_in = (uInt)buf_len(in) };
	int rc = inflateInit2(&z, 15 + 16);

	if (rc != Z_OK)
		return -1;
	do {
		if (buf_len(out) >= max || buf_room(out, 65536)) {
			rc = Z_MEM_ERROR;
			break;
		}
		z.next_out = out->p + out->end;
		z.avail_out = 65536;
		rc = inflate(&z, Z_NO_FLUSH);
		out->end += 65536 - z.avail_out;
	} while (rc == Z_OK);
	inflateEnd(&z);
	return rc == Z_STREAM_END ? 0 : -1;
}

static int as_json(struct sender *s, const struct export_record *rec, bool gz)
{
	struct buf raw = { .max = OTLP_MAX }, text = { .max = 4 * OTLP_MAX };
	const struct buf *from = rec->gzip ? &raw : &rec->payload;
	int rc = rec->gzip ? shape_gunzip(&raw, &rec->payload, OTLP_MAX) : 0;

	rc = rc || json_request(&text, s->signal, buf_data(from), buf_len(from));
	if (!rc && gz) {
		rc = export_gzip(&s->body, &text);
	} else if (!rc) {
		buf_free(&s->body);
		s->body = text;
		memset(&text, 0, sizeof text);
	}
	buf_free(&raw);
	buf_free(&text);
	return rc;
}

static int as_frame(struct sender *s, const struct export_record *rec)
{
	uint8_t head[5] = { rec->gzip };

	for (unsigned i = 0; i < 4; i++)
		head[1 + i] = (uint8_t)(rec->len >> (24 - 8 * i));
	buf_put(&s->body, head, sizeof head);
	buf_put(&s->body, buf_data(&rec->payload), rec->len);
	return s->body.failed ? -1 : 0;
}

static void header(struct shape *o, const char *text)
{
	if (o->req.nheaders < SHAPE_HEADERS)
		o->headers[o->req.nheaders++] = text;
}

int shape_request(struct sender *s, const struct export_record *rec, struct shape *o)
{
	const struct export_target *t = &s->e->opts.target[s->signal];
	int rc = 0;

	memset(o, 0, sizeof *o);
	o->req = (struct fetch_req){ .url = t->url, .unix_path = t->unix_path, .headers = o->headers,
		.timeout_ns = t->timeout_ns, .ca_file = t->ca_file, .cert_file = t->cert_file, .key_file = t->key_file,
		.body = buf_data(&rec->payload), .body_len = rec->len };
	header(o, "User-Agent: purser/" PACKAGE_VERSION " OTel-OTLP-Exporter-C/" PACKAGE_VERSION);
	buf_clear(&s->body);
	switch (t->protocol) {
	case EXPORT_PROTOBUF:
		header(o, "Content-Type: application/x-protobuf");
		if (rec->gzip)
			header(o, "Content-Encoding: gzip");
		break;
	case EXPORT_JSON:
		header(o, "Content-Type: application/json");
		if (t->gzip)
			header(o, "Content-Encoding: gzip");
		rc = as_json(s, rec, t->gzip);
		break;
	case EXPORT_GRPC:
		header(o, "Content-Type: application/grpc");
		header(o, "TE: trailers");
		if (rec->gzip)
			header(o, "grpc-encoding: gzip");
		o->req.http2 = true;
		o->req.want[0] = "grpc-status";
		o->req.want[1] = "grpc-message";
		o->req.want[2] = "grpc-status-details-bin";
		rc = as_frame(s, rec);
		break;
	}
	if (t->protocol != EXPORT_PROTOBUF) {
		o->req.body = buf_data(&s->body);
		o->req.body_len = buf_len(&s->body);
	}
	for (size_t i = 0; i < t->nheaders; i++)
		header(o, t->headers[i]);
	return rc;
}

/* ---- a reply ---- */

/* RetryInfo's delay in google.rpc.Status' details, base64 with or without padding; -1: there is none. */
static int64_t retry_info(const char *text)
{
	char padded[1024];
	uint8_t raw[768];
	size_t n = text ? strlen(text) : 0;
	struct pb_field any, f, d;
	const uint8_t *p, *end, *q, *r;
	int64_t len, delay = -1;

	if (!n || n > sizeof padded - 4)
		return -1;
	memcpy(padded, text, n);
	while (n % 4)
		padded[n++] = '=';
	len = base64_get(raw, padded, n);
	if (len <= 0)
		return -1;
	for (p = raw, end = raw + len; pb_next(&p, end, &any) > 0;) {
		bool is = false;

		if (any.field != 3 || any.wire != PB_LEN)
			continue;
		for (q = any.p; pb_next(&q, any.p + any.n, &f) > 0;) {
			static const char name[] = "google.rpc.RetryInfo";

			if (f.field == 1 && f.wire == PB_LEN)
				is = f.n >= sizeof name - 1 && !memcmp(f.p + f.n - (sizeof name - 1), name, sizeof name - 1);
			if (f.field != 2 || f.wire != PB_LEN || !is)
				continue;
			delay = 0;
			for (r = f.p; pb_next(&r, f.p + f.n, &d) > 0;)
				if (d.field == 1 && d.wire == PB_LEN && d.n && d.p[0] == 0x08) {
					struct pb_field seconds;
					const uint8_t *at = d.p;

					if (pb_next(&at, d.p + d.n, &seconds) > 0)
						delay = (int64_t)seconds.v;
				}
		}
	}
	return delay;
}

/* %XX of grpc-message. */
static void percent(char *dst, size_t cap, const char *src)
{
	size_t n = 0;

	for (; *src && n + 1 < cap; src++) {
		char hex[3] = { src[0] == '%' ? src[1] : 0, src[0] == '%' && src[1] ? src[2] : 0, 0 }, *end;
		long c = hex[0] ? strtol(hex, &end, 16) : 0;

		if (hex[0] && hex[1] && end == hex + 2) {
			dst[n++] = (char)c;
			src += 2;
		} else {
			dst[n++] = *src;
		}
	}
	dst[n] = '\0';
}

static void verdict_grpc(const struct fetch_result *r, struct verdict *v)
{
	static const char *const names[] = { "ok", "cancelled", "unknown", "invalid_argument", "deadline_exceeded", "not_found",
		"already_exists", "permission_denied", "resource_exhausted", "failed_precondition", "aborted", "out_of_range",
		"unimplemented", "internal", "unavailable", "data_loss", "unauthenticated" };
	unsigned long status = r->got[0] ? strtoul(r->got[0], NULL, 10) : 99;
	char said[120] = "";

	if (r->got[1])
		percent(said, sizeof said, r->got[1]);
	if (status > 16) {
		v->type = "protocol";
		snprintf(v->text, sizeof v->text, "the reply is not gRPC: it has no grpc-status");
		return;
	}
	v->ok = status == 0;
	v->type = v->ok ? "" : names[status];
	v->after_s = retry_info(r->got[2]);
	v->again = status == 1 || status == 4 || status == 10 || status == 11 || status == 14 || status == 15 ||
	    (status == 8 && v->after_s >= 0);
	if (!v->ok)
		snprintf(v->text, sizeof v->text, "gRPC status %s%s%s", names[status], *said ? ": " : "", said);
	if (v->ok && r->len >= 5 && r->body[0] == 0) {
		v->message = r->body + 5;
		v->len = r->len - 5;
	}
}

/* "message" of google.rpc.Status; "" when there is none. */
static void json_status(const void *p, size_t n, char *text, size_t cap)
{
	json_t *j = n ? json_loadb(p, n, 0, NULL) : NULL;
	const char *said = json_string_value(json_object_get(j, "message"));

	snprintf(text, cap, "%s", said ? said : "");
	json_decref(j);
}

/* {"partialSuccess":{"rejectedSpans":"1","errorMessage":"..."}}; the number may be one, too. */
static int json_partial(const void *p, size_t n, int64_t *rejected, char *text, size_t cap)
{
	static const char *const names[] = { "rejectedSpans", "rejectedDataPoints", "rejectedLogRecords" };
	json_t *j = n ? json_loadb(p, n, 0, NULL) : NULL, *part = json_object_get(j, "partialSuccess");
	const char *said = json_string_value(json_object_get(part, "errorMessage"));

	*rejected = 0;
	snprintf(text, cap, "%s", said ? said : "");
	for (unsigned i = 0; i < 3; i++) {
		const json_t *v = json_object_get(part, names[i]);

		if (json_is_string(v))
			*rejected = strtoll(json_string_value(v), NULL, 10);
		else if (json_is_integer(v))
			*rejected = json_integer_value(v);
	}
	json_decref(j);
	return n && !j ? -1 : 0;
}

int shape_partial(const struct sender *s, const struct verdict *v, int64_t *rejected, char *text, size_t cap)
{
	if (s->e->opts.target[s->signal].protocol == EXPORT_JSON)
		return json_partial(v->message, v->len, rejected, text, cap);
	return otlp_partial(v->message, v->len, rejected, text, cap);
}

void shape_verdict(const struct sender *s, const struct fetch_result *r, struct verdict *v)
{
	const struct export_target *t = &s->e->opts.target[s->signal];
	bool http_ok = r->error == FETCH_OK && r->status >= 200 && r->status < 300;
	char said[120] = "";

	memset(v, 0, sizeof *v);
	v->after_s = -1;
	v->type = "";
	v->status = r->error == FETCH_OK ? r->status : 0;
	if (r->error != FETCH_OK) {
		v->type = fetch_error_name(r->error);
		v->again = r->error != FETCH_TOOBIG; /* it answered, and we will not read it */
		snprintf(v->text, sizeof v->text, "%.199s", r->text);
	} else if (http_ok && t->protocol == EXPORT_GRPC) {
		verdict_grpc(r, v);
	} else if (http_ok) {
		v->ok = true;
		v->message = r->body;
		v->len = r->len;
	} else {
		if (t->protocol == EXPORT_PROTOBUF)
			otlp_status(r->body, r->len, said, sizeof said);
		else if (t->protocol == EXPORT_JSON)
			json_status(r->body, r->len, said, sizeof said);
		v->after_s = r->retry_after_s;
		v->again = r->status == 429 || r->status == 502 || r->status == 503 || r->status == 504;
		snprintf(v->code, sizeof v->code, "%d", r->status);
		v->type = v->code;
		snprintf(v->text, sizeof v->text, "HTTP %d%s%s", r->status, *said ? ": " : "", said);
	}
}

/* ---- standard output ---- */

void shape_print(struct export *e, enum export_signal s, const struct buf *request)
{
	struct buf line = { .max = 4 * OTLP_MAX };
	size_t at = 0;

	if (json_request(&line, s, buf_data(request), buf_len(request))) {
		log_event(e->log, LOG_M_EXPORT, LOG_ERROR, "export.console", "a request has a field that has no name in JSON",
		    LOG_STR("signal", export_signal_name(s)));
		buf_free(&line);
		return;
	}
	buf_putc(&line, '\n');
	while (!line.failed && at < buf_len(&line)) {
		ssize_t n = write(STDOUT_FILENO, buf_data(&line) + at, buf_len(&line) - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			log_event(e->log, LOG_M_EXPORT, LOG_WARN, "export.console", "standard output takes no telemetry",
			    LOG_STR("error", strerror(errno)));
			break;
		}
		at += (size_t)n;
	}
	buf_free(&line);
}
