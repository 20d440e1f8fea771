/* SPDX-License-Identifier: Apache-2.0
 *
 * CLIENT TRACKING and what belongs to it: the words, and Redis' own refusals (request_track.c does the work).
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <purser/resp.h>
#include "request_tour.h"
#include "request_track.h"
#include "server/local.h"

static struct tracking *tracking_of(const struct request *r)
{
	return r->cl->outband ? r->cl->outband->tracking : NULL;
}

/* ---- TRACKING ---- */

struct finding {                    /* where is the client that is to be told? */
	struct tour tour;           /* first */
	struct request *r;
	struct track_opts o;
	const char *project;
	bool found;
};

static void look(struct tour *t, struct worker *w)
{
	struct finding *f = (struct finding *)t;

	for (struct client *c = w->clients; c && !f->found; c = c->next)
		if (c->session.id == f->o.redirect && !c->gone && c->project &&
		    !strcmp(c->project->name, f->project)) {
			f->found = true;
			f->o.redirect_worker = w->index;
		}
}

static void looked(struct tour *t)
{
	struct finding *f = (struct finding *)t;

	if (f->r->cl->gone || !f->found)
		local_error(f->r, "ERR The client ID you want redirect to does not exist");
	else
		track_start(f->r, &f->o);
	free(f);
}

static bool begins(purser_bytes a, purser_bytes with)
{
	return a.n >= with.n && memcmp(a.p, with.p, with.n) == 0;
}

/* Prefixes of one client must not overlap; the text of the refusal, or NULL. */
static const char *collision(const struct track_opts *o, const struct tracking *t, char *text, size_t cap)
{
	for (uint32_t i = 0; i < o->nprefixes; i++) {
		purser_bytes a = o->prefix[i];

		if (t && !t->nprefixes) {
			snprintf(text, cap, "ERR Prefix '%.*s' overlaps with an existing prefix ''. Prefixes for a single "
			    "client must not overlap.", (int)a.n, (const char *)a.p);
			return text;
		}
		for (uint32_t k = 0; t && k < t->nprefixes; k++)
			if (begins(a, t->prefix[k]) || begins(t->prefix[k], a)) {
				snprintf(text, cap, "ERR Prefix '%.*s' overlaps with an existing prefix '%.*s'. Prefixes for a "
				    "single client must not overlap.", (int)a.n, (const char *)a.p, (int)t->prefix[k].n,
				    (const char *)t->prefix[k].p);
				return text;
			}
		for (uint32_t k = i + 1; k < o->nprefixes; k++)
			if (begins(a, o->prefix[k]) || begins(o->prefix[k], a)) {
				snprintf(text, cap, "ERR Prefix '%.*s' overlaps with another provided prefix '%.*s'. Prefixes "
				    "for a single client must not overlap.", (int)a.n, (const char *)a.p,
				    (int)o->prefix[k].n, (const char *)o->prefix[k].p);
				return text;
			}
	}
	return NULL;
}

/* Do the options go together, and with what the client has? */
static const char *check_options(const struct track_opts *o, const struct tracking *t, char *text, size_t cap)
{
	static const char other[] = "before disabling tracking for this client, and then re-enabling it with a "
	    "different mode.";
	uint8_t both = TRACK_OPTIN | TRACK_OPTOUT, had = t ? t->options : 0;

	if (!(o->options & TRACK_BCAST) && o->nprefixes)
		return "ERR PREFIX option requires BCAST mode to be enabled";
	if (t && (had & TRACK_BCAST) != (o->options & TRACK_BCAST)) {
		snprintf(text, cap, "ERR You can't switch BCAST mode on/off %s", other);
		return text;
	}
	if (o->options & TRACK_BCAST && o->options & both)
		return "ERR OPTIN and OPTOUT are not compatible with BCAST";
	if ((o->options & both) == both)
		return "ERR You can't specify both OPTIN mode and OPTOUT mode";
	if ((o->options & TRACK_OPTIN && had & TRACK_OPTOUT) || (o->options & TRACK_OPTOUT && had & TRACK_OPTIN)) {
		snprintf(text, cap, "ERR You can't switch OPTIN/OPTOUT mode %s", other);
		return text;
	}
	return collision(o, t, text, cap);
}

/* The options behind ON or OFF.  NULL, or what is wrong with them. */
static const char *read_options(struct request *r, struct track_opts *o)
{
	purser_bytes *prefix = arena_get(&r->arena, r->argc * sizeof *prefix);

	if (!prefix)
		return "OOM out of memory";
	o->prefix = prefix;
	for (uint32_t i = 3; i < r->argc; i++) {
		bool more = i + 1 < r->argc;
		int64_t id;

		if (word_is(word(r, i), "REDIRECT") && more) {
			if (o->redirect)
				return "ERR A client can only redirect to a single other client";
			if (purser_resp_int(word(r, i + 1).p, word(r, i + 1).n, &id))
				return "ERR value is not an integer or out of range";
			if (id < 1)
				return "ERR The client ID you want redirect to does not exist";
			o->redirect = (uint64_t)id;
			i++;
		} else if (word_is(word(r, i), "PREFIX") && more) {
			prefix[o->nprefixes++] = word(r, ++i);
		} else if (word_is(word(r, i), "BCAST")) {
			o->options |= TRACK_BCAST;
		} else if (word_is(word(r, i), "OPTIN")) {
			o->options |= TRACK_OPTIN;
		} else if (word_is(word(r, i), "OPTOUT")) {
			o->options |= TRACK_OPTOUT;
		} else if (word_is(word(r, i), "NOLOOP")) {
			o->options |= TRACK_NOLOOP;
		} else {
			return "ERR syntax error";
		}
	}
	return NULL;
}

static void find_target(struct request *r, const struct track_opts *o)
{
	struct finding *f = calloc(1, sizeof *f);

	if (!f) {
		local_failure(r, ERR_OOM, NULL);
		return;
	}
	f->r = r;
	f->o = *o;
	f->project = r->project->name;
	f->tour.visit = look;
	f->tour.end = looked;
	tour_start(&f->tour, r->cl->w);
}

/* BCAST adds prefixes to those that the client has. */
static const char *add_prefixes(struct request *r, struct track_opts *o, const struct tracking *t)
{
	purser_bytes *all;

	if (!t || !t->nprefixes || !o->nprefixes)
		return NULL;
	all = arena_get(&r->arena, (t->nprefixes + o->nprefixes) * sizeof *all);
	if (!all)
		return "OOM out of memory";
	memcpy(all, t->prefix, t->nprefixes * sizeof *all);
	if (o->nprefixes)
		memcpy(all + t->nprefixes, o->prefix, o->nprefixes * sizeof *all);
	o->prefix = all;
	o->nprefixes += t->nprefixes;
	return NULL;
}

static void do_tracking(struct request *r)
{
	const struct purser_ctx *x = r->cl->w->ctx[r->project->instance];
	struct tracking *t = tracking_of(r);
	struct track_opts o = { 0 };
	const char *why = read_options(r, &o);
	bool on = word_is(word(r, 2), "ON");
	char text[512];

	if (!why && !on && !word_is(word(r, 2), "OFF"))
		why = "ERR syntax error";
	if (!why && on)
		why = check_options(&o, t, text, sizeof text);
	if (!why && on)
		why = add_prefixes(r, &o, t);
	if (why) {
		local_error(r, why);
	} else if (!on) {
		track_end(r->cl);
		local_ok(r);
	} else if (r->sink || !x || !x->inst->hub || !(x->p->caps & PURSER_CAP_TRACKING)) {
		local_failure(r, ERR_UNSUPPORTED, r->sink ? "CLIENT TRACKING needs a RESP connection" : NULL);
	} else if (o.redirect) {
		find_target(r, &o);
	} else {
		track_start(r, &o);
	}
}

/* ---- the others ---- */

static void do_caching(struct request *r)
{
	struct tracking *t = tracking_of(r);

	if (!t) {
		local_error(r, "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or "
		    "OPTOUT mode enabled");
		return;
	}
	if (word_is(word(r, 2), "YES")) {
		if (!(t->options & TRACK_OPTIN)) {
			local_error(r, "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
			return;
		}
	} else if (word_is(word(r, 2), "NO")) {
		if (!(t->options & TRACK_OPTOUT)) {
			local_error(r, "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
			return;
		}
	} else {
		local_error(r, "ERR syntax error");
		return;
	}
	t->caching = true;
	local_ok(r);
}

static void do_getredir(struct request *r)
{
	const struct tracking *t = tracking_of(r);

	reply_integer(&r->b, t ? (int64_t)t->redirect : -1);
	req_finish(r);
}

static void do_trackinginfo(struct request *r)
{
	const struct tracking *t = tracking_of(r);
	const char *flags[8];
	unsigned n = 0;

	flags[n++] = t ? "on" : "off";
	if (t && t->options & TRACK_BCAST)
		flags[n++] = "bcast";
	if (t && t->options & TRACK_OPTIN) {
		flags[n++] = "optin";
		if (t->caching)
			flags[n++] = "caching-yes";
	}
	if (t && t->options & TRACK_OPTOUT) {
		flags[n++] = "optout";
		if (t->caching)
			flags[n++] = "caching-no";
	}
	if (t && t->options & TRACK_NOLOOP)
		flags[n++] = "noloop";
	if (t && t->broken)
		flags[n++] = "broken_redirect";
	reply_map(&r->b, 3);
	reply_text(&r->b, "flags");
	reply_set(&r->b, n);
	for (unsigned i = 0; i < n; i++)
		reply_text(&r->b, flags[i]);
	reply_text(&r->b, "redirect");
	reply_integer(&r->b, t ? (int64_t)t->redirect : -1);
	reply_text(&r->b, "prefixes");
	if (t && t->options & TRACK_BCAST && !t->nprefixes) {
		reply_array(&r->b, 1);
		reply_text(&r->b, "");
	} else {
		reply_array(&r->b, t ? t->nprefixes : 0);
		for (uint32_t i = 0; t && i < t->nprefixes; i++)
			reply_bulk(&r->b, t->prefix[i].p, t->prefix[i].n);
	}
	req_finish(r);
}

void local_track(req_handler *t)
{
	t[CMD_CLIENT_TRACKING] = do_tracking;
	t[CMD_CLIENT_CACHING] = do_caching;
	t[CMD_CLIENT_GETREDIR] = do_getredir;
	t[CMD_CLIENT_TRACKINGINFO] = do_trackinginfo;
}
