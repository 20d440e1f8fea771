/* SPDX-License-Identifier: Apache-2.0
 *
 * base/errors: the one list of failures (errors.def) as data.
 */
#ifndef BASE_ERRORS_H
#define BASE_ERRORS_H
#include <stdbool.h>
#include <stddef.h>

enum err_code {
	ERR_NONE = 0,
#define ERROR(id, word, http, retryable, type, text) ERR_##id,
#include "base/errors.def"
#undef ERROR
	ERR_COUNT
};

struct err_row {
	const char *word;       /* first word on RESP: "-WORD text" */
	int http;               /* status on HTTP */
	bool retryable;
	const char *error_type; /* OpenTelemetry error.type */
	const char *text;       /* what is said when nothing more exact is known; names the next step */
};

extern const struct err_row err_rows[ERR_COUNT]; /* [ERR_NONE] is empty strings and 200 */

/* The row whose RESP word opens text[0..n) ("WRONGTYPE ..." -> ERR_REDIS). Never ERR_NONE. */
enum err_code err_of_text(const char *text, size_t n);
#endif
