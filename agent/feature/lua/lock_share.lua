-- SPDX-License-Identifier: Apache-2.0
-- A lock that several may have: a reader's, or some of a number of permits.
--
-- KEYS  1 the lock, 2 its fence record
-- ARGV  1 owner, 2 ttl in ms, 3 the least fence that may be given, 4 info,
--       5 permits (a reader: "1"), 6 "read", or of how many permits
-- fence           it has it; also when this owner had it before
-- {0, ms, kind}   not now: ms until something of it is free at the latest, as it stands
-- {-1, 0, kind}   it is held with another number of permits, or as another kind
--
-- While it is shared the lock is a hash (lock_acquire.lua: the other form): a field for each owner,
-- "FENCE PERMITS EXPIRY SINCE INFO", `#` kind, `!` until when readers are held back because a writer waits.
-- It has at most 1000 owners.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local ttl, want, kind = tonumber(ARGV[2]), tonumber(ARGV[5]), ARGV[6]
local form = redis.call('TYPE', KEYS[1]).ok

if form == 'string' then
	return {0, redis.call('PTTL', KEYS[1]), 'write'}
end

local all = form == 'hash' and redis.call('HGETALL', KEYS[1]) or {}
local owners, used, latest, soonest, held, wish, own = 0, 0, 0, math.huge, nil, 0, nil
for i = 1, #all, 2 do
	if all[i] == '#' then
		held = all[i + 1]
	elseif all[i] == '!' then
		wish = tonumber(all[i + 1])
	else
		local fence, permits, expiry = string.match(all[i + 1], '^(%d+) (%d+) (%d+)')

		expiry = tonumber(expiry)
		if expiry <= now then
			redis.call('HDEL', KEYS[1], all[i])
		else
			owners, used = owners + 1, used + tonumber(permits)
			latest, soonest = math.max(latest, expiry), math.min(soonest, expiry)
			if all[i] == ARGV[1] then
				own = fence
			end
		end
	end
end
if owners > 0 and held ~= kind then
	return {-1, 0, held}
end
if not own then
	if kind == 'read' and wish > now then
		return {0, wish - now, 'write'}
	end
	if owners >= 1000 or (kind ~= 'read' and used + want > tonumber(kind)) then
		return {0, soonest - now, kind}
	end
end

local last, least = string.match(redis.call('GET', KEYS[2]) or '0 0', '^(%d+) ?(%d*)$')
local fence = own and tonumber(own) or math.max(t[1] * 1000000 + t[2], tonumber(last) + 1, tonumber(ARGV[3]))
local text = string.format('%.0f', fence)
redis.call('HSET', KEYS[1], '#', kind, ARGV[1],
	string.format('%s %d %.0f %.0f %s', text, want, now + ttl, now, ARGV[4]))
redis.call('PEXPIRE', KEYS[1], math.max(latest - now, ttl))
if not own then
	redis.call('SET', KEYS[2], text .. ' ' .. (least == '' and last or least))
end
return fence
