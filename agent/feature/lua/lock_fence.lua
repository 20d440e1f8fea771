-- SPDX-License-Identifier: Apache-2.0
-- A write that only a holder's fence allows: refused once a newer one was taken, or once the lock was given to
-- somebody else alone.
--
-- KEYS  1 the fence record of the lock, 2 the key that is written
-- ARGV  1 fence, 2 SET, HSET or DEL, 3 ... what the command has behind its key
-- The reply of the command, or the error LOCKLOST.
local t = redis.call('TIME')
local given, taken = string.match(redis.call('GET', KEYS[1]) or '0', '^(%d+) ?(%d*)$')
local fence, last = tonumber(ARGV[1]), tonumber(given)
local least = tonumber(taken) or last

if fence < least then
	return redis.error_reply('LOCKLOST this fence is older than ' .. string.format('%.0f', least) .. ': somebody else has had the lock since')
end
-- One that nobody was given must not shut out those that will be given.
if fence > math.max(last, t[1] * 1000000 + t[2]) then
	return redis.error_reply('LOCKLOST this fence was never given')
end
if fence > least then -- before the write: what stands must never be ahead of what is noted
	redis.call('SET', KEYS[1], string.format('%.0f %.0f', math.max(last, fence), fence))
end
return redis.pcall(ARGV[2], KEYS[2], unpack(ARGV, 3))
