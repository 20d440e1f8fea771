-- SPDX-License-Identifier: Apache-2.0
-- Who has the lock.
--
-- KEYS  1 the lock, 2 its fence record
-- ARGV  none
-- {kind, last fence or "0", least fence or "0", {owner, fence, permits, ms left, age in ms, info} ...}
-- kind: "free", "write", "read" or of how many permits.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local last, least = string.match(redis.call('GET', KEYS[2]) or '0', '^(%d+) ?(%d*)$')
local answer = {'free', last, least == '' and last or least}
local form = redis.call('TYPE', KEYS[1]).ok

if form == 'string' then
	local fence, owner, s, us, info = string.match(redis.call('GET', KEYS[1]), '^(%d+) (%S+) (%d+) (%d+) (.*)$')
	local since = s * 1000 + math.floor(us / 1000)

	answer[1] = 'write'
	answer[4] = {owner, fence, 1, redis.call('PTTL', KEYS[1]), math.max(now - since, 0), info}
elseif form == 'hash' then
	local all = redis.call('HGETALL', KEYS[1])

	for i = 1, #all, 2 do
		if all[i] ~= '#' and all[i] ~= '!' then
			local fence, permits, expiry, since, info =
				string.match(all[i + 1], '^(%d+) (%d+) (%d+) (%d+) (.*)$')

			if tonumber(expiry) > now then
				answer[#answer + 1] = {all[i], fence, tonumber(permits), expiry - now, math.max(now - since, 0), info}
			end
		end
	end
	if #answer > 3 then
		answer[1] = redis.call('HGET', KEYS[1], '#')
	end
end
return answer
