/* SPDX-License-Identifier: Apache-2.0
 *
 * differential --a SOCKET --b SOCKET [--seconds N | --commands N] [--seed S] [--databases N] [--resp 2|3] [--isolated 1]
 *
 * Sends the same random commands to two servers (a: the reference) and compares the replies by the rules
 * of diff.h.  Status 0: no difference; 1: one, printed with the few commands that show it; 2: no server.
 */
#include <config.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "diff.h"

static int usage(void)
{
	fputs("usage: differential --a SOCKET --b SOCKET [--seconds N | --commands N] [--seed S] "
	    "[--databases N] [--resp 2|3] [--isolated 1]\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	struct options o = { .databases = 1, .seconds = 10 };
	int i;

	o.seed = (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
	for (i = 1; i + 1 < argc; i += 2) {
		const char *k = argv[i], *v = argv[i + 1];
		char *end;
		unsigned long long n = strtoull(v, &end, 10);
		int number = *v && !*end;

		if (!strcmp(k, "--a"))
			o.a = v;
		else if (!strcmp(k, "--b"))
			o.b = v;
		else if (!strcmp(k, "--seconds") && number)
			o.seconds = (double)n;
		else if (!strcmp(k, "--commands") && number)
			o.commands = n;
		else if (!strcmp(k, "--seed") && number)
			o.seed = n;
		else if (!strcmp(k, "--databases") && number && n >= 1 && n <= 16)
			o.databases = (uint32_t)n;
		else if (!strcmp(k, "--resp") && number && (n == 2 || n == 3))
			o.resp = (uint32_t)n;
		else if (!strcmp(k, "--isolated") && number && n <= 1)
			o.isolated = (int)n;
		else
			return usage();
	}
	return i < argc || !o.a || !o.b ? usage() : run(&o);
}
