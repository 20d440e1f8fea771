/* SPDX-License-Identifier: Apache-2.0
 *
 * feature/rooms: what feature.c knows of each feature: who puts its handlers into the table.
 */
#ifndef FEATURE_ROOMS_H
#define FEATURE_ROOMS_H
#include "feature/feature.h"

void cache_counter_commands(feature_handler *t); /* CACHE.INCRBY */
void cache_meta_commands(feature_handler *t);    /* CACHE.SETM CACHE.META CACHE.MSET */
void stream_commands(feature_handler *t);        /* STREAM.* */
int stream_start(struct feature_worker *w);
void stream_reloaded(struct feature_worker *w);
void stream_quit(struct feature_worker *w);
void stream_stop(struct feature_worker *w);

void lock_commands(feature_handler *t);          /* LOCK.* */
int lock_start(struct feature_worker *w);
void lock_stop(struct feature_worker *w);
void lease_commands(feature_handler *t);         /* CACHE.LEASE, FILL, ABORT, INVALIDATE */
int lease_start(struct feature_worker *w);
void lease_reloaded(struct feature_worker *w);
void lease_stop(struct feature_worker *w);

void session_commands(feature_handler *t);       /* SESSION.* */
int session_start(struct feature_worker *w);
void session_quit(struct feature_worker *w);
void session_stop(struct feature_worker *w);
void job_commands(feature_handler *t);           /* CACHE.CLEAR COUNT TTLREPAIR EXPORT, PURSER.JOB.* */
#endif
