/* SPDX-License-Identifier: Apache-2.0
 *
 * access: who may do what.  In: rules ([project], [grant], [role] sections), evidence of who somebody is
 * (access/identity.h), a command and its words.  Out: the role that somebody has in a project, and whether
 * that role may run the command, with the reason if not.
 *
 * One rule decides.  Of those that hold for a peer: one that names its uid before one that names a group of
 * its, that before one for everybody; among equals the [grant] sections in the order of the files, then
 * the project's own section.  A token and claims say project and role themselves.
 */
#ifndef ACCESS_ACCESS_H
#define ACCESS_ACCESS_H
#include "access/identity.h"
#include "access/project.h"
#include "access/role.h"
#include "base/buf.h"
#include "base/errors.h"
#include "config/cfg.h"

/* Kinds of identity that may enter a project: bits 1 << enum identity_source. */
enum { ACCEPT_PEER = 1 << IDENTITY_PEER, ACCEPT_TOKEN = 1 << IDENTITY_TOKEN, ACCEPT_JWT = 1 << IDENTITY_JWT };

struct access_rule {
	const struct role *role;
	bool every_project;             /* else the names below */
	char (*project)[PROJECT_NAME_MAX + 1];
	uint32_t nprojects;
	bool anybody;                   /* every local user */
	uint32_t *uid, *gid;            /* sorted */
	uint32_t nuid, ngid;
};

struct access;

/* What one kind of presented evidence (a token, claims) says; by whoever knows that kind. */
struct access_evidence {
	/* Is it for p?  *role: the role that it says, or NULL: the project's. */
	bool (*enters)(const struct access *a, const struct identity *id, const struct project *p,
	    const struct role **role);
	/* The one project that it names, or NULL. */
	const char *(*project)(const struct access *a, const struct identity *id);
	const void *arg;                /* of the generation: tokens, keys */
};

struct access {                         /* of one configuration generation; immutable but for dynamic projects */
	const struct cmd_index *commands; /* names that roles may have; set before access_make() */
	bool production;
	struct project_set *projects;
	struct role *roles;             /* [role NAME] */
	uint32_t nroles;
	struct access_rule *rules;      /* of the [grant] sections, in order */
	uint32_t nrules;
	struct access_rule *own;        /* of the [project] sections */
	uint32_t nown;
	struct access_evidence evidence[IDENTITY_JWT + 1]; /* by enum identity_source */
};

/* Roles and rules of cfg into a, which is zeroed but for ->projects; then what cfg says of each project (s: its
 * section; p has its name).  0, or -1 with what is wrong appended to why, a line each; access_clear() in any
 * case. */
int access_make(struct access *a, const struct cfg *cfg, struct buf *why);
int access_make_project(struct access *a, const struct cfg *cfg, const struct cfg_section *s, struct project *p,
    struct buf *why);

/* What the tokens of s (read from file; borrowed) say holds.  0, or -1 with what is wrong with them. */
int access_tokens(struct access *a, const struct token_set *s, const char *file, struct buf *why);
/* Does what id presents beside the kernel's word (a token, claims) let it into p by itself? */
bool access_presents(const struct access *a, const struct identity *id, const struct project *p);
/* The role that id has in p, or NULL; *why (or NULL): a reason for the agent's own log. */
const struct role *access_enter(const struct access *a, const struct identity *id, const struct project *p,
    const char **why);

/* The project of that name with the role that id has there, made if [project *] admits it.  NULL: none, or id may
 * not enter it, or *full (if not NULL) is set: there are as many as there may be. */
const struct project *access_project(const struct access *a, const struct identity *id, const void *name, size_t n,
    const struct role **role, bool *full);

enum access_choice { ACCESS_NONE, ACCESS_ONE, ACCESS_SEVERAL };
/* The project of somebody who names none: in development `default`, if it may be entered; else the only one
 * that may. */
enum access_choice access_sole(const struct access *a, const struct identity *id, const struct project **p,
    const struct role **role);
/* May id run what is the agent's and no project's: has it purser:operate in some project? */
bool access_operates(const struct access *a, const struct identity *id);

const struct role *access_role(const struct access *a, const char *name); /* built-in or configured; or NULL */
void access_clear(struct access *a);    /* what it holds */
void access_rule_clear(struct access_rule *r);

/* ---- the one decision point ---- */
struct access_question {
	const struct access *access;
	const struct identity *id;
	const struct project *project;  /* that it is in; NULL: in none */
	const struct role *role;        /* that it has there */
	bool operates;                  /* without a project: access_operates() */
	bool several;                   /* ... access_sole() found several */
	const struct command *cmd;
	const purser_bytes *argv;       /* as the client gave them */
	uint32_t argc;
};
struct access_answer {
	enum err_code err;              /* ERR_NONE: it may */
	char text[512];                 /* for the caller, without the word */
	uint32_t key;                   /* which of argv it is about; 0: none */
};
bool access_decide(const struct access_question *q, struct access_answer *answer);
#endif
