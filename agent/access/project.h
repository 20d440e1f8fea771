/* SPDX-License-Identifier: Apache-2.0
 *
 * access/project: who may reach which keys.  In: the [project] sections and a name chosen by a
 * client.  Out: a project, and with it the prefix that its keys have in the store.
 *
 * A physical key is the project's prefix and the client's key (semantics.md section 9): proj:NAME:
 * unless key_prefix says otherwise, nothing with isolation = off.  cfg_project_prefix() builds it.
 */
#ifndef ACCESS_PROJECT_H
#define ACCESS_PROJECT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "command/command.h"

#define PROJECT_NAME_MAX 64u
#define PROJECT_PREFIX_MAX 200u

struct role;
struct access_rule;
struct limits;

enum project_scripts {        /* EVAL and its like are */
	SCRIPTS_OFF,          /* refused */
	SCRIPTS_DECLARED,     /* served: the keys that a call declares are the project's, others are as the script says */
	SCRIPTS_ISOLATED      /* served: whatever a script does stays in the project */
};

struct script_login {         /* script_user and the line in script_password_file */
	struct script_login *next;
	char user[128];
	char secret[1024];    /* wiped by projects_clear() */
};

struct project {
	char name[PROJECT_NAME_MAX + 1];
	bool open;                /* it says nothing about who may enter: in development everybody may */
	uint8_t accept;           /* kinds of identity that may enter: ACCEPT_* */
	uint16_t metric_id;       /* metric_project() */
	uint32_t ns;              /* namespace number: index in the set, stable over reloads by name */
	uint32_t instance;        /* index of the backend instance */
	uint32_t prefix_len;      /* 0: isolation = off */
	uint32_t databases;       /* SELECT 0 .. databases - 1 */
	uint8_t scripts;          /* enum project_scripts */
	uint8_t prefix[PROJECT_PREFIX_MAX];
	struct limits *limits;    /* access/limit.h; owned; NULL: none */
	const struct role *role;  /* of those that enter, where nothing else says it; NULL: none */
	const struct access_rule *own; /* who may enter by the project's own section; NULL: nobody */
	char *watch;              /* streams whose groups are metrics, a blank between; owned by the set; NULL: none */
	uint64_t watch_ns;        /* ... how often they are asked for */
	const struct script_login *login; /* whom its scripts run as, where the agent is not to make a user; or NULL */
};

struct project_more;

struct project_set {          /* of one configuration generation; immutable once it is in use, but for `more` */
	struct project *v;        /* of the [project NAME] sections */
	uint32_t n;
	uint16_t *index;          /* by name (projects_index()); NULL: there are few */
	uint32_t mask;
	struct project_more *more; /* those that [project *] admits, made when they are first named; or NULL */
	struct script_login *logins; /* all of them */
};

/* NULL: no such project (yet).  A UUID may be spelled in upper case.  Any thread. */
const struct project *project_find(const struct project_set *s, const void *name, size_t n);
int projects_index(struct project_set *s);   /* 0, or -1: no memory */
void projects_clear(struct project_set *s); /* what it holds */
bool project_name_ok(const void *name, size_t n); /* [a-z0-9._-]{1,64} */
void project_fold(char *name, size_t n);          /* a UUID in upper case becomes the project's name */

/* ---- numbers by name, for the life of the agent: what a plugin or a cache keeps by ns outlives a reload ---- */
struct project_numbers;
#define PROJECT_NUMBERS 65535u
struct project_numbers *project_numbers_new(void);
void project_numbers_free(struct project_numbers *x);
/* The number of that name; PROJECT_NUMBERS: there are no more (or no memory).  Any thread. */
uint32_t project_number(struct project_numbers *x, const char *name);

/* ---- [project *] ---- */
struct metric_reg;
/* The set admits further projects that are like *model, up to max of them; their prefix is head, the name, tail.
 * numbers and metrics are borrowed.  0, or -1: no memory. */
int projects_admit(struct project_set *s, const struct project *model, const char *head, const char *tail,
    uint32_t max, struct project_numbers *numbers, struct metric_reg *metrics);
/* What a project of that name would be; false: none of that name is admitted.  Its name may be "*": any. */
bool project_like(const struct project_set *s, const void *name, size_t n, struct project *out);
/* It, made if it is not there.  NULL: there are as many as there may be (or no memory).  Any thread. */
const struct project *project_make(const struct project_set *s, const char *name);
/* What they all have in common: their prefix is the head alone.  False: none are admitted. */
bool projects_common(const struct project_set *s, struct project *out);
/* All there are now.  Any thread. */
void projects_each(const struct project_set *s, void (*fn)(void *arg, const struct project *p), void *arg);
uint32_t projects_made(const struct project_set *s); /* so far */

static inline bool project_isolated(const struct project *p) { return p->prefix_len != 0; }

/* Arguments that name keys without being keys: patterns (of SORT too) get the prefix (and SCAN a MATCH), a
 * database number must be one of the project's.  argv is rewritten in place and may grow by up to
 * ISOLATE_EXTRA words (the caller leaves room); memory comes from the arena.
 * NULL, or the text of the refusal ("" = no memory). */
#define ISOLATE_EXTRA 2u
const char *isolate_args(const struct project *p, const struct command *c, purser_bytes *argv,
    uint32_t *argc, struct arena *a);

/* key with the prefix in front, in the arena; p NULL: no memory. */
purser_bytes isolate_key(const struct project *p, purser_bytes key, struct arena *a);

/* Take every occurrence of the prefix out of an error text, in place; the new length. */
size_t isolate_text(const struct project *p, char *text, size_t n);
#endif
