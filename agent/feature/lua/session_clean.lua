-- Takes sessions that have expired out of the index of all, a batch a call.
-- KEYS: 1 the index of all sessions
-- ARGV: 1 at most so many (0: only counts)
-- Replies {taken out, expired ones that are left, live ones}.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local taken = 0

if ARGV[1] ~= '0' then
	local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
	if #old > 0 then
		taken = redis.call('ZREM', KEYS[1], unpack(old))
	end
end
local live = redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf')
return { taken, redis.call('ZCARD', KEYS[1]) - live, live }
