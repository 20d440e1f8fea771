/* SPDX-License-Identifier: Apache-2.0
 *
 * access/attempts: how often those who share an owner (peer_owner(): a user of the host; all of TCP) have failed to
 * authenticate of late, over all their connections.  Who guesses on many connections waits as who does on one.  Nobody
 * is locked out: what is good is taken at once.
 *
 * A failure is forgotten after ATTEMPTS_FORGET_NS.  So many owners are told apart; of more, some share.  One lock,
 * which only failures take; time is an argument.
 */
#ifndef ACCESS_ATTEMPTS_H
#define ACCESS_ATTEMPTS_H
#include <pthread.h>
#include <stdint.h>

#define ATTEMPTS_OWNERS 256u
#define ATTEMPTS_WAYS 4u
#define ATTEMPTS_FORGET_NS UINT64_C(10000000000)
#define ATTEMPTS_MAX 10000u     /* it takes no longer than that to be forgotten */

struct attempts {
	pthread_mutex_t lock;
	struct attempts_of {
		uint64_t owner, since_ns; /* when the oldest of n was */
		uint32_t n;
	} of[ATTEMPTS_OWNERS];
};

void attempts_init(struct attempts *t);
void attempts_end(struct attempts *t);
/* One more.  How many there are of late, with it. */
uint32_t attempts_failed(struct attempts *t, uint64_t owner, uint64_t now_ns);
#endif
