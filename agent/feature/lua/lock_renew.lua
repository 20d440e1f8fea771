-- SPDX-License-Identifier: Apache-2.0
-- More time for a holder that still has the lock.  It never takes one.
--
-- KEYS  1 the lock
-- ARGV  1 fence, 2 owner, or "" when only the fence is known, 3 ttl in ms
-- 1 it has it for ttl ms from now; 0 nobody has it; 2 only others have it
local v = redis.pcall('GET', KEYS[1])

if not v then
	return 0
end
if type(v) == 'string' then
	if string.match(v, '^(%d+)') ~= ARGV[1] then
		return 2
	end
	redis.call('PEXPIRE', KEYS[1], ARGV[3])
	return 1
end

-- Shared.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local all = ARGV[2] ~= '' and {ARGV[2], redis.call('HGET', KEYS[1], ARGV[2])} or redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
	local fence, permits, expiry, rest = string.match(all[i + 1] or '', '^(%d+) (%d+) (%d+) (.*)$')

	if fence == ARGV[1] then
		local ttl = tonumber(ARGV[3])

		if tonumber(expiry) <= now then
			return 2
		end
		redis.call('HSET', KEYS[1], all[i], string.format('%s %s %.0f %s', fence, permits, now + ttl, rest))
		if redis.call('PTTL', KEYS[1]) < ttl then
			redis.call('PEXPIRE', KEYS[1], ARGV[3])
		end
		return 1
	end
end
return 2
