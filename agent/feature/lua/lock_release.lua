-- SPDX-License-Identifier: Apache-2.0
-- A holder gives the lock back; nobody else's is touched.
--
-- KEYS  1 the lock
-- ARGV  1 fence, or "0" when only the owner is known (an attempt whose reply was lost),
--       2 owner, or "" when only the fence is known
-- 1 released; 0 nobody has it; 2 only others have it
local v = redis.pcall('GET', KEYS[1])

if not v then
	return 0
end
if type(v) == 'string' then
	local head = ARGV[1] .. ' '

	if string.sub(v, 1, #head) ~= head and string.match(v, '^%d+ (%S+)') ~= ARGV[2] then
		return 2
	end
	redis.call('DEL', KEYS[1])
	return 1
end

-- Shared: with its last owner it goes, whatever else is noted in it.
local all = redis.call('HGETALL', KEYS[1])
local others, found = 0, false
for i = 1, #all, 2 do
	if all[i] ~= '#' and all[i] ~= '!' then
		if not found and (all[i] == ARGV[2] or string.match(all[i + 1], '^(%d+)') == ARGV[1]) then
			redis.call('HDEL', KEYS[1], all[i])
			found = true
		else
			others = others + 1
		end
	end
end
if found and others == 0 then
	redis.call('DEL', KEYS[1])
end
return found and 1 or 2
