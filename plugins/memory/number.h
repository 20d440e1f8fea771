/* SPDX-License-Identifier: Apache-2.0
 *
 * number: text and numbers as strictly as Redis takes them.
 */
#ifndef MEMORY_NUMBER_H
#define MEMORY_NUMBER_H
#include <stddef.h>
#include <stdint.h>

#define INT_TEXT 24                   /* room for any int64_t */
#define FLOAT_TEXT 5120               /* room for any long double as LD_STR_HUMAN writes it */

/* The whole of p[0..n) is an integer without leading zeros, plus or blanks.  0, or -1. */
int int_parse(const void *p, size_t n, int64_t *out);
size_t int_format(int64_t v, char buf[INT_TEXT]);      /* the length; NUL-terminated */
size_t int_length(int64_t v);

/* As strtold reads it, nothing around it, not NaN; infinity passes.  0, or -1. */
int float_parse(const void *p, size_t n, long double *out);
int double_parse(const void *p, size_t n, double *out); /* the same with strtod */
/* As a listpack shows a score: an integer, if it is one and not large, else 17 digits. */
#define SCORE_TEXT 32
size_t score_format(double v, char buf[SCORE_TEXT]);
/* 17 digits behind the point, zeros at the end dropped; the length. */
size_t float_format(long double v, char buf[FLOAT_TEXT]);
#endif
