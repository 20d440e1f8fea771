/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <string.h>
#include "base/errors.h"

const struct err_row err_rows[ERR_COUNT] = {
	[ERR_NONE] = { "", 200, false, "", "" },
#define ERROR(id, word, http, retryable, type, text) \
	[ERR_##id] = { word, http, retryable, type, text },
#include "base/errors.def"
#undef ERROR
};

enum err_code err_of_text(const char *text, size_t n)
{
	const char *sp = memchr(text, ' ', n);
	size_t len = sp ? (size_t)(sp - text) : n;

	for (int i = 1; i < ERR_COUNT; i++)
		if (i != ERR_INTERNAL && strlen(err_rows[i].word) == len &&
		    memcmp(err_rows[i].word, text, len) == 0)
			return (enum err_code)i;
	return ERR_REDIS;
}
