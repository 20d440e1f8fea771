/* SPDX-License-Identifier: Apache-2.0
 *
 * Random RESTOREs: payloads that Redis 7.0 made, some with a byte changed.
 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include "diff.h"

static struct word payload(struct gen *g)
{
	static const char *const hex[] = {
		"00c00c0a003c2af8515c04bcd5",
		"00c1d4fe0a00c6c48623febede2e",
		"00c2009435770a00421228d8e073c087",
		"000a393939393939393939390a00d26ac299df53efd2",
		"00c3094064010000e057000100780a00687287cb1f230fd8",
		"00c30a405002616261e042010161620a00949d5f0eb1dea445",
		"120102272700000007008161020101dffe02c12c02f270110104f4ffe30b540200000009847465787405"
		"ff0a00b6e287549889ebae",
		"120102c3204147154701000014008e7468652d73616d652d616761696e0fe0ff0fe11e0f010fff0a0021"
		"ff4b50d0bf4e49",
		"0b0e02000000030000000100020003000a00a5025ce26d6e4d1b",
		"0b100400000002000000ffffffff701101000a00bab1c665be29f9b6",
		"0b180800000002000000ffffffffffffffffffe77648170000000a004218f5893014cb67",
		"0203c001016101620a00cfda4c60572a4c33",
		"1012120000000400816602817602816e020501ff0a008490939f57b4f3c2",
		"111d1d0000000600816302842d696e6605816102010181620283322e3504ff0a003992339be11f323d",
		"", "00", "000568656c6c6f0a000000000000000000",
	};
	const char *from = hex[rng_below(g, sizeof(hex) / sizeof(*hex))];
	struct word w = { NULL, (uint32_t)strlen(from) / 2 };
	uint8_t *p = arena_get(g->mem, w.n + 1);
	uint32_t i;

	for (i = 0; i < w.n; i++) {
		char two[3] = { from[2 * i], from[2 * i + 1], '\0' };

		p[i] = (uint8_t)strtoul(two, NULL, 16);
	}
	if (w.n && rng_below(g, 12) == 0)
		p[rng_below(g, w.n)] ^= (uint8_t)(1u << rng_below(g, 8)); /* and the checksum is wrong */
	w.p = p;
	return w;
}

/* Lives are long: what is absolute is past then, or far away. */
static struct word life(struct gen *g)
{
	static const char *const odd[] = { "-1", "abc", "", "9223372036854775807", "1.5", "4102444800000" };
	uint32_t r = rng_below(g, 10);

	if (r < 6)
		return word_text("0");
	return r < 9 ? gen_format(g, "%lld", 100000000000 + (int64_t)rng_below(g, 1000000) * 1000000) :
	    word_text(odd[rng_below(g, sizeof(odd) / sizeof(*odd))]);
}

static void add_options(struct gen *g, struct cmd *c)
{
	static const char *const times[] = { "0", "5", "100", "256", "-1", "abc", "", "9223372036854775807" };

	if (rng_below(g, 2))
		gen_add(g, c, word_text("REPLACE"));
	if (rng_below(g, 4) == 0)
		gen_add(g, c, word_text("AbsTtl"));
	if (rng_below(g, 5) == 0) {
		gen_add(g, c, word_text(rng_below(g, 2) ? "IDLETIME" : "freq"));
		gen_add(g, c, word_text(times[rng_below(g, sizeof(times) / sizeof(*times))]));
	}
	if (rng_below(g, 40) == 0)
		gen_add(g, c, word_text(rng_below(g, 2) ? "FREQ" : "JUNK"));
}

int gen_dump(struct gen *g, struct cmd *c, const char *name)
{
	if (!strcmp(name, "dpayload"))
		gen_add(g, c, payload(g));
	else if (!strcmp(name, "dlife"))
		gen_add(g, c, life(g));
	else if (!strcmp(name, "dopts"))
		add_options(g, c);
	else
		return 0;
	return 1;
}
