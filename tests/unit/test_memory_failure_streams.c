/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams with each allocation failing: see memory_failure.h.
 */
#include "memory_failure.h"

static const char *const lines[] = {
	"XADD new 1-1 f v", "XADD new * f v MAXLEN 3",
	"XADD log 200-1 a 0123456789012345678901234567890123456789", "XADD log * c 1 d 2 e 3",
	"XADD log MAXLEN ~ 50 300-0 a 1", "XADD log MINID = 70 300-* a 1 b 2", "XADD xnone 5-5 a b",
	"XTRIM log MAXLEN 20", "XTRIM log MINID ~ 120", "XTRIM log MAXLEN 0", "XDEL log 1-1 2-1 3-1 131-1",
	"XSETID log 500-0", "XRANGE log - + COUNT 200", "XREVRANGE log (90 20", "XLEN log",
	"XREAD COUNT 90 STREAMS log xnone 3 0", "XREADGROUP GROUP gr ann STREAMS log >",
	"XREADGROUP GROUP gr new COUNT 40 STREAMS log >",
	"XREADGROUP GROUP gr cid COUNT 2 STREAMS log log xnone > > >",
	"XREADGROUP GROUP gr new NOACK STREAMS log >", "XREADGROUP GROUP gr ann STREAMS log 0",
	"XREADGROUP GROUP gr new STREAMS xnone log 0 >",
	"XREADGROUP GROUP gr dan COUNT 30 STREAMS log log 0 >", "XGROUP CREATE log another 50",
	"XGROUP CREATE new gr $ MKSTREAM", "XGROUP SETID log gr 2-1", "XGROUP DESTROY log gr",
	"XGROUP CREATECONSUMER log gr cid", "XGROUP CREATECONSUMER log gr ann",
	"XGROUP DELCONSUMER log gr ann", "XACK log gr 1-1 2-1 3-1 61-1", "XPENDING log gr",
	"XPENDING log gr - + 50 ann", "XCLAIM log gr bob 0 1-1 2-1 3-1 5-1 10-1 62-1",
	"XCLAIM log gr new 0 1-1 2-1 100-1 101-1 FORCE",
	"XCLAIM log gr cid 0 61-1 61-1 1-1 JUSTID LASTID 90-1", "XAUTOCLAIM log gr bob 0 0",
	"XAUTOCLAIM log gr new 0 - COUNT 30 JUSTID", "XINFO STREAM log FULL", "XINFO GROUPS log",
	"XINFO CONSUMERS log gr", "COPY log other", "RENAME log other", "EXPIRE log 100", "DEL log",
};

static void every_site(void **state)
{
	(void)state;
	failure_every(lines, sizeof(lines) / sizeof(*lines));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_site),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
