/* SPDX-License-Identifier: Apache-2.0
 *
 * track: client tracking.  The host wants to hear of changed keys below some prefixes, on one context, its home;
 * keys change on all of them.  So their names are put into one list, and a job on the home hands it over.
 */
#ifndef MEMORY_TRACK_H
#define MEMORY_TRACK_H
#include "memory.h"

struct tracking *tracking_new(void);      /* NULL: no memory */
void tracking_free(struct tracking *t);   /* nothing is posted any more */

int track(void *cs, purser_bytes prefix, int on); /* as plugin.h has it: at home */
void track_close(struct ctx *cx);         /* if this is the home: it hears nothing more */

void track_touch(struct ctx *cx, purser_bytes key);
void track_all(struct ctx *cx);           /* whole databases have been emptied */
#endif
