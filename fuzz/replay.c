/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main() of a fuzz target that is not linked with libFuzzer: feeds it every file of its corpus, then
 * seeded mutations of them, and speaks TAP.
 *
 *   fuzz_NAME            replays $abs_top_srcdir/fuzz/corpus/NAME
 *   fuzz_NAME FILE...    replays these (how a finding is debugged)
 *
 * PURSER_SEED repeats a run; PURSER_LONG=1 makes it a hundred times longer.
 */
#include <config.h>

#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_MAX_BYTES = 1 << 20, MUTATIONS = 5000, LONG_FACTOR = 100 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	uint8_t *data;
	size_t size;
};

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Reads a whole file; an unreadable one ends the run. */
static struct input read_input(const char *path)
{
	struct input in = { malloc(INPUT_MAX_BYTES), 0 };
	FILE *f = fopen(path, "rb");

	if (f == NULL || in.data == NULL) {
		printf("Bail out! cannot read %s\n", path);
		exit(99);
	}
	in.size = fread(in.data, 1, INPUT_MAX_BYTES, f);
	fclose(f);
	return in;
}

/* What is being run, for the report of a crash. */
static const uint8_t *current;
static size_t current_size;

/* Prints the input in hexadecimal, 4 KiB at most:  xxd -r -p >FILE && fuzz_NAME FILE  repeats it. */
static void report(void)
{
	char line[2 * 32 + 2];

	for (size_t i = 0; i < current_size && i < 4096; i += 32) {
		size_t n = 0;

		for (size_t j = i; j < i + 32 && j < current_size; j++) {
			line[n++] = "0123456789abcdef"[current[j] >> 4];
			line[n++] = "0123456789abcdef"[current[j] & 15];
		}
		line[n++] = '\n';
		if (write(STDERR_FILENO, line, n) < 0)
			return;
	}
}

static void crashed(int sig)
{
	report();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* Sanitizers end the process themselves. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void report_crashes(void)
{
	signal(SIGABRT, crashed);
	if (__sanitizer_set_death_callback != NULL) {
		__sanitizer_set_death_callback(report);
	} else {
		signal(SIGSEGV, crashed);
		signal(SIGBUS, crashed);
		signal(SIGFPE, crashed);
		signal(SIGILL, crashed);
	}
}

/* The target gets a copy of exactly its size, so that a sanitizer sees one byte too many. */
static void run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	if (copy == NULL)
		abort();
	memcpy(copy, data, size);
	current = copy;
	current_size = size;
	LLVMFuzzerTestOneInput(copy, size);
	current_size = 0;
	free(copy);
}

/* One to eight small changes, the last of them perhaps a splice of another input. */
static size_t mutate(uint8_t *out, const struct input *in, const struct input *other, uint64_t *rnd)
{
	size_t size = in->size;
	unsigned n = 1 + (unsigned)(next_random(rnd) % 8);

	memcpy(out, in->data, size);
	while (n-- > 0) {
		size_t at = size > 0 ? next_random(rnd) % size : 0;
		uint64_t r = next_random(rnd);

		switch (r % 5) {
		case 0:
			if (size > 0)
				out[at] = (uint8_t)(r >> 8);
			break;
		case 1:
			if (size > 0)
				out[at] ^= (uint8_t)(1u << ((r >> 8) & 7));
			break;
		case 2:
			size = at;
			break;
		case 3:
			if (size < INPUT_MAX_BYTES) {
				memmove(out + at + 1, out + at, size - at);
				out[at] = (uint8_t)"\r\n*$0 :-9+"[(r >> 8) % 10];
				size++;
			}
			break;
		default: {
			size_t from = other->size > 0 ? (r >> 8) % other->size : 0;
			size_t len = other->size - from;

			if (len > INPUT_MAX_BYTES - at)
				len = INPUT_MAX_BYTES - at;
			memcpy(out + at, other->data + from, len);
			size = at + len;
		}
		}
	}
	return size;
}

static int visible(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

/* Loads the corpus of the target called argv0; returns how many inputs. */
static size_t load_corpus(const char *argv0, struct input **inputs, char *dir, size_t dirsize)
{
	const char *src = getenv("abs_top_srcdir");
	const char *name = strrchr(argv0, '/');
	struct dirent **list;
	int n;

	name = name != NULL ? name + 1 : argv0;
	if (strncmp(name, "fuzz_", 5) == 0)
		name += 5;
	snprintf(dir, dirsize, "%s/fuzz/corpus/%s", src != NULL ? src : ".", name);
	n = scandir(dir, &list, visible, alphasort);
	if (n <= 0) {
		printf("Bail out! no corpus in %s\n", dir);
		exit(99);
	}
	*inputs = calloc((size_t)n, sizeof(**inputs));
	if (*inputs == NULL)
		abort();
	for (int i = 0; i < n; i++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/%s", dir, list[i]->d_name);
		(*inputs)[i] = read_input(path);
		free(list[i]);
	}
	free(list);
	return (size_t)n;
}

int main(int argc, char **argv)
{
	const char *seed_text = getenv("PURSER_SEED");
	const char *long_text = getenv("PURSER_LONG");
	uint64_t seed = seed_text != NULL ? strtoull(seed_text, NULL, 0) : (uint64_t)time(NULL);
	uint64_t rounds = MUTATIONS, rnd = seed;
	struct input *inputs;
	uint8_t *scratch;
	char dir[3072];
	size_t n;

	report_crashes();
	for (int i = 1; i < argc; i++) {
		struct input in = read_input(argv[i]);

		run(in.data, in.size);
		free(in.data);
	}
	if (argc > 1)
		return 0;
	if (long_text != NULL && strcmp(long_text, "1") == 0)
		rounds *= LONG_FACTOR;

	n = load_corpus(argv[0], &inputs, dir, sizeof(dir));
	printf("1..2\n# %zu inputs of %s; PURSER_SEED=%" PRIu64 "\n", n, dir, seed);
	fflush(stdout);
	for (size_t i = 0; i < n; i++)
		run(inputs[i].data, inputs[i].size);
	printf("ok 1 - corpus\n");
	fflush(stdout);

	scratch = malloc(INPUT_MAX_BYTES);
	if (scratch == NULL)
		abort();
	for (uint64_t i = 0; i < rounds; i++) {
		const struct input *a = &inputs[next_random(&rnd) % n];
		const struct input *b = &inputs[next_random(&rnd) % n];

		run(scratch, mutate(scratch, a, b, &rnd));
	}
	printf("ok 2 - %" PRIu64 " mutations\n", rounds);
	free(scratch);
	for (size_t i = 0; i < n; i++)
		free(inputs[i].data);
	free(inputs);
	return 0;
}
