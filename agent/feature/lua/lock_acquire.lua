-- SPDX-License-Identifier: Apache-2.0
-- A lock for one holder alone, also a writer among readers.
--
-- KEYS  1 the lock, 2 its fence record
-- ARGV  1 owner, 2 ttl in ms, 3 the least fence that may be given, 4 info (what LOCK.INFO shows),
--       5 for how many ms readers are held back if readers have it ("0": not at all)
-- {1, fence}      it has it; also when this owner had it before: an attempt whose reply was lost is just sent again
-- {0, ms, kind}   somebody has it, for ms at most as it stands; kind: "write", "read" or the number of permits
--
-- The lock is a string "FENCE OWNER SINCE INFO" with a TTL while one holder has it alone, and a hash while it is
-- shared (lock_share.lua): so SET NX is refused by both.  The fence record is a hash without a TTL: `last` fence
-- that was given, `least` one that LOCK.FENCE still takes.  Fences are not below the store's clock in us, so
-- they grow even if the record was evicted.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local last = tonumber(redis.call('HGET', KEYS[2], 'last')) or 0
local fence = math.max(t[1] * 1000000 + t[2], last + 1, tonumber(ARGV[3]))
local text = string.format('%.0f', fence)
local value = string.format('%s %s %.0f %s', text, ARGV[1], now, ARGV[4])

local function take()
	if not redis.call('SET', KEYS[1], value, 'NX', 'PX', ARGV[2]) then
		return false
	end
	redis.call('HSET', KEYS[2], 'last', text, 'least', text)
	return true
end

if take() then
	return {1, fence}
end
if redis.call('TYPE', KEYS[1]).ok == 'string' then
	local held, owner = string.match(redis.call('GET', KEYS[1]), '^(%d+) (%S+)')

	if owner == ARGV[1] then
		redis.call('PEXPIRE', KEYS[1], ARGV[2])
		return {1, tonumber(held)}
	end
	return {0, redis.call('PTTL', KEYS[1]), 'write'}
end

-- Shared: whose time is over has it no more.
local all, latest, kind = redis.call('HGETALL', KEYS[1]), 0, 'read'
for i = 1, #all, 2 do
	if all[i] == '#' then
		kind = all[i + 1]
	elseif all[i] ~= '!' then
		local expiry = tonumber(string.match(all[i + 1], '^%d+ %d+ (%d+)'))

		if expiry <= now then
			redis.call('HDEL', KEYS[1], all[i])
		else
			latest = math.max(latest, expiry)
		end
	end
end
if latest == 0 then
	redis.call('DEL', KEYS[1])
	take()
	return {1, fence}
end
if ARGV[5] ~= '0' then
	redis.call('HSET', KEYS[1], '!', string.format('%.0f', now + tonumber(ARGV[5])))
end
return {0, latest - now, kind}
