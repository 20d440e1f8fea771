-- SPDX-License-Identifier: Apache-2.0
-- A lock for one holder alone, also a writer among readers.
--
-- KEYS  1 the lock, 2 its fence record
-- ARGV  1 owner, 2 ttl in ms, 3 the least fence that may be given, 4 info (what LOCK.INFO shows),
--       5 for how many ms readers are held back if readers have it ("0": not at all)
-- fence           it has it; also when this owner had it before: an attempt whose reply was lost is just sent again
-- {0, ms, kind}   somebody has it, for ms at most as it stands; kind: "write", "read" or the number of permits
--
-- The lock is a string "FENCE OWNER S US INFO" (since when, as TIME has it) with a TTL while one holder has it alone, and
-- a hash while it is shared (lock_share.lua): so SET NX is refused by both.  The fence record is a string without a TTL:
-- "LAST LEAST", the last fence that was given and the least that LOCK.FENCE still takes, or one number that is both.
-- Fences are not below the store's clock in us, so they grow even if the record was evicted.
local t = redis.call('TIME')
local fence = math.max(t[1] * 1000000 + t[2], tonumber(ARGV[3]))
local text = string.format('%.0f', fence)

if not redis.call('SET', KEYS[1], text .. ' ' .. ARGV[1] .. ' ' .. t[1] .. ' ' .. t[2] .. ' ' .. ARGV[4], 'NX', 'PX', ARGV[2]) then
	if redis.call('TYPE', KEYS[1]).ok == 'string' then
		local held, owner = string.match(redis.call('GET', KEYS[1]), '^(%d+) (%S+)')

		if owner == ARGV[1] then
			redis.call('PEXPIRE', KEYS[1], ARGV[2])
			return tonumber(held)
		end
		return {0, redis.call('PTTL', KEYS[1]), 'write'}
	end

	-- Shared: whose time is over has it no more.
	local now = t[1] * 1000 + math.floor(t[2] / 1000)
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
	if latest > 0 then
		if ARGV[5] ~= '0' then
			redis.call('HSET', KEYS[1], '!', string.format('%.0f', now + tonumber(ARGV[5])))
		end
		return {0, latest - now, kind}
	end
	redis.call('SET', KEYS[1], text .. ' ' .. ARGV[1] .. ' ' .. t[1] .. ' ' .. t[2] .. ' ' .. ARGV[4], 'PX', ARGV[2])
end

local record = redis.call('SET', KEYS[2], text, 'GET')
local last = record and (tonumber(record) or tonumber(string.match(record, '^%d+'))) or 0
if last >= fence then -- the clock went back
	fence = last + 1
	text = string.format('%.0f', fence)
	redis.call('SET', KEYS[1], text .. ' ' .. ARGV[1] .. ' ' .. t[1] .. ' ' .. t[2] .. ' ' .. ARGV[4], 'PX', ARGV[2])
	redis.call('SET', KEYS[2], text)
end
return fence
