/* SPDX-License-Identifier: Apache-2.0 */
/* export/prometheus: names, escaping, and the visitor that writes. */
#include <config.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "export/prometheus.h"
#include "export/resource.h"

struct prom {
	struct buf *out;
	const struct metric_row *row;
	char name[EXPORT_PROMETHEUS_NAME];
	struct buf labels; /* of the point at hand, without braces */
};

static const char *unit_word(const char *u, size_t n)
{
	static const char *const words[][2] = { { "s", "seconds" }, { "ms", "seconds" },
		{ "us", "seconds" }, { "ns", "seconds" }, { "By", "bytes" }, { "KiBy", "kibibytes" }, { "MiBy", "mebibytes" },
		{ "GiBy", "gibibytes" }, { "kBy", "kilobytes" }, { "MBy", "megabytes" },
		{ "GBy", "gigabytes" }, { "Hz", "hertz" }, { "%", "percent" } };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strlen(words[i][0]) == n && memcmp(words[i][0], u, n) == 0)
			return words[i][1];
	return "";
}

/* Prometheus wants base units: what a value in parts of a second is multiplied by; else 0. */
static double to_seconds(const struct metric_row *row)
{
	return strcmp(row->unit, "ms") == 0 ? 1e-3 : strcmp(row->unit, "us") == 0 ? 1e-6 :
	    strcmp(row->unit, "ns") == 0 ? 1e-9 : 0;
}

/* "{ops}/s" -> "per_second", "By" -> "bytes", "{x}" -> "" */
static void unit_of(char *dst, size_t cap, const struct metric_row *row)
{
	const char *u = row->unit, *slash = strchr(u, '/');
	const char *word = *u == '{' ? "" : unit_word(u, slash ? (size_t)(slash - u) : strlen(u));

	if (strcmp(u, "1") == 0)
		snprintf(dst, cap, "%s", row->kind == METRIC_GAUGE ? "ratio" : "");
	else if (!slash)
		snprintf(dst, cap, "%s", word);
	else
		snprintf(dst, cap, "%s%sper_%.*s", word, *word ? "_" : "",
		    slash[1] == 's' ? 6 : (int)strlen(slash + 1), slash[1] == 's' ? "second" : slash + 1);
}

static bool ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), t = strlen(tail);

	return n >= t && memcmp(s + n - t, tail, t) == 0;
}

void export_prometheus_name(char dst[EXPORT_PROMETHEUS_NAME], const struct metric_row *row)
{
	char unit[32];
	size_t n = 0;

	for (const char *s = row->name; *s && n < EXPORT_PROMETHEUS_NAME - 48; s++) {
		char c = isalnum((unsigned char)*s) || *s == ':' ? *s : '_';

		if (c != '_' || !n || dst[n - 1] != '_')
			dst[n++] = c;
	}
	dst[n] = '\0';
	unit_of(unit, sizeof unit, row);
	if (*unit && !ends_with(dst, unit))
		n += (size_t)snprintf(dst + n, EXPORT_PROMETHEUS_NAME - n, "_%s", unit);
	/* the suffix belongs to histograms: connection.count is connections */
	if (row->kind != METRIC_HISTOGRAM && ends_with(dst, "_count"))
		memcpy(dst + n - 6, "s", 2);
	if (row->kind == METRIC_COUNTER && !ends_with(dst, "_total"))
		snprintf(dst + n, EXPORT_PROMETHEUS_NAME - n, "_total");
}

static void put_escaped(struct buf *b, const char *s, bool quote)
{
	for (; *s; s++) {
		if (*s == '\\')
			buf_puts(b, "\\\\");
		else if (*s == '\n')
			buf_puts(b, "\\n");
		else if (*s == '"' && quote)
			buf_puts(b, "\\\"");
		else
			buf_putc(b, *s);
	}
}

/* The shortest text that reads back the same. */
static void put_double(struct buf *b, double v)
{
	char text[32];
	int n = 0;

	if (isnan(v)) {
		buf_puts(b, "NaN");
		return;
	}
	if (isinf(v)) {
		buf_puts(b, v > 0 ? "+Inf" : "-Inf");
		return;
	}
	for (int precision = 15; precision <= 17; precision++) {
		n = snprintf(text, sizeof text, "%.*g", precision, v);
		if (strtod(text, NULL) == v)
			break;
	}
	buf_put(b, text, (size_t)n);
}

static void put_label(struct buf *b, const char *key, const char *value)
{
	if (buf_len(b))
		buf_putc(b, ',');
	for (; *key; key++)
		buf_putc(b, isalnum((unsigned char)*key) ? *key : '_');
	buf_puts(b, "=\"");
	put_escaped(b, value, true);
	buf_putc(b, '"');
}

static void labels_of(struct prom *p, const struct metric_point *pt)
{
	char text[24];

	buf_clear(&p->labels);
	for (size_t i = 0; i < pt->nattrs; i++) {
		const struct metric_attr *a = &pt->attrs[i];

		if (a->type == METRIC_A_BOOL)
			put_label(&p->labels, a->key, a->i ? "true" : "false");
		else if (a->type == METRIC_A_INT)
			put_label(&p->labels, a->key, (text[dec_i64(text, a->i)] = '\0', text));
		else
			put_label(&p->labels, a->key, a->s);
	}
}

/* name + suffix + {labels[,le="..."]} + space */
static void head(struct prom *p, const char *suffix, const char *le)
{
	buf_puts(p->out, p->name);
	buf_puts(p->out, suffix);
	if (buf_len(&p->labels) || le) {
		buf_putc(p->out, '{');
		buf_put(p->out, p->labels.p ? buf_data(&p->labels) : (const uint8_t *)"",
		    buf_len(&p->labels));
		if (le) {
			buf_puts(p->out, buf_len(&p->labels) ? ",le=\"" : "le=\"");
			buf_puts(p->out, le);
			buf_putc(p->out, '"');
		}
		buf_putc(p->out, '}');
	}
	buf_putc(p->out, ' ');
}

static void on_row(void *arg, enum metric_id id, const struct metric_row *row)
{
	static const char *const types[] = { "counter", "gauge", "gauge", "histogram" };
	struct prom *p = arg;

	(void)id;
	p->row = row;
	export_prometheus_name(p->name, row);
	buf_puts(p->out, "# HELP ");
	buf_puts(p->out, p->name);
	buf_putc(p->out, ' ');
	put_escaped(p->out, row->doc, false);
	buf_puts(p->out, "\n# TYPE ");
	buf_puts(p->out, p->name);
	buf_putc(p->out, ' ');
	buf_puts(p->out, types[row->kind]);
	buf_putc(p->out, '\n');
}

static void histogram(struct prom *p, const struct metric_point *pt)
{
	char le[32];
	uint64_t total = 0;

	for (size_t i = 0; i <= pt->nbounds; i++) {
		total += pt->buckets[i];
		if (i < pt->nbounds)
			snprintf(le, sizeof le, "%.15g", pt->bounds[i]);
		head(p, "_bucket", i < pt->nbounds ? le : "+Inf");
		buf_putu(p->out, total);
		buf_putc(p->out, '\n');
	}
	head(p, "_sum", NULL);
	put_double(p->out, pt->sum);
	buf_putc(p->out, '\n');
	head(p, "_count", NULL);
	buf_putu(p->out, total);
	buf_putc(p->out, '\n');
}

static void on_point(void *arg, const struct metric_point *pt)
{
	struct prom *p = arg;

	labels_of(p, pt);
	if (p->row->kind == METRIC_HISTOGRAM) {
		histogram(p, pt);
		return;
	}
	head(p, "", NULL);
	if (to_seconds(p->row) > 0)
		put_double(p->out, (p->row->value == METRIC_DOUBLE ? pt->d : (double)pt->i) *
		    to_seconds(p->row));
	else if (p->row->value == METRIC_DOUBLE)
		put_double(p->out, pt->d);
	else
		buf_puti(p->out, pt->i);
	buf_putc(p->out, '\n');
}

static void on_end(void *arg)
{
	(void)arg;
}

static void target_info(struct prom *p, const struct export_resource *r)
{
	buf_puts(p->out, "# HELP target_info What the metrics are of.\n# TYPE target_info gauge\n");
	snprintf(p->name, sizeof p->name, "target_info");
	for (size_t i = 0; i < r->n; i++)
		put_label(&p->labels, r->attr[i].key, r->attr[i].value);
	head(p, "", NULL);
	buf_puts(p->out, "1\n");
}

int export_prometheus(struct buf *out, struct metric_reg *r, const struct export_resource *resource,
    bool anonymous)
{
	struct prom p = { .out = out };
	struct metric_visitor v = { on_row, on_point, on_end, &p, anonymous };
	int rc;

	if (resource)
		target_info(&p, resource);
	rc = metric_read(r, &v);
	if (p.labels.failed || out->failed)
		rc = -1;
	buf_free(&p.labels);
	return rc;
}
