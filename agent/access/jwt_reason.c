/* SPDX-License-Identifier: Apache-2.0 */
/* access/jwt_reason: the names of refusals. */
#include <config.h>
#include "access/jwt.h"

static const struct { const char *name, *text; } rows[JWT_REASONS] = {
	[JWT_OK] = { "ok", "the token is good" },
	[JWT_PENDING] = { "pending", "the token is being verified" },
#define JWT_REASON(id, n, t) [JWT_##id] = { n, t },
#include "access/jwt_reasons.def"
#undef JWT_REASON
};

const char *jwt_reason_name(enum jwt_reason r)
{
	return r < JWT_REASONS ? rows[r].name : "unknown";
}

const char *jwt_reason_text(enum jwt_reason r)
{
	return r < JWT_REASONS ? rows[r].text : "unknown";
}

bool jwt_reason_passes(enum jwt_reason r)
{
	return r == JWT_KEYS_AWAY || r == JWT_KEYS_STALE || r == JWT_TIMEOUT || r == JWT_BUSY ||
	    r == JWT_STOPPING || r == JWT_NO_MEMORY;
}
