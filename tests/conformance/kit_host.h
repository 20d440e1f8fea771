/* SPDX-License-Identifier: Apache-2.0
 *
 * kit: the two halves of the host table: calls (kit_host.c), and everything else (kit_host_loop.c).
 */
#ifndef TESTS_KIT_HOST_H
#define TESTS_KIT_HOST_H
#include "kit.h"

/* May the plugin use x here and now?  If not, fn is blamed. */
bool mine(struct purser_ctx *x, const char *fn);

void host_ready(purser_ctx *x, uint32_t route);
void **host_slot(purser_session *s, purser_ctx *x);
uint64_t host_now(purser_ctx *x);
uint64_t host_wall_ms(purser_ctx *x);
int host_watch(purser_ctx *x, int fd, uint32_t events, purser_io_fn fn, void *arg);
uint64_t host_timer(purser_ctx *x, uint64_t delay_ns, purser_fn fn, void *arg);
void host_untimer(purser_ctx *x, uint64_t id);
void host_post(purser_ctx *x, purser_job *job);
void host_offload(purser_ctx *x, purser_job *work, purser_job *done);
int host_busy(purser_ctx *x);
uint64_t host_publish(purser_instance *i, uint32_t kind, purser_bytes channel,
	purser_bytes message);
void host_message(purser_ctx *x, uint32_t kind, purser_bytes pattern, purser_bytes channel,
	purser_bytes message);
void host_subscribed(purser_ctx *x, uint32_t kind, purser_bytes name, int on);
void host_subscription_lost(purser_ctx *x);
void host_invalidated(purser_ctx *x, const purser_bytes *keys, size_t n);
purser_bytes host_text(purser_instance *i, const char *key);
int64_t host_value(purser_instance *i, const char *key);
uint32_t host_endpoint(purser_instance *i, const char *address, uint16_t port,
	const char *transport);
void host_link_state(purser_ctx *x, uint32_t endpoint, uint32_t from, uint32_t to);
void host_count(purser_ctx *x, uint32_t metric, int64_t delta);
void host_log(purser_instance *i, int level, const char *fmt, ...) __attribute__((format(printf, 3,
	4)));
const char *host_name(purser_instance *i);
#endif
