-- Ends sessions of a user, a batch a call.
-- KEYS: 1 the index of the user's sessions, 2 the index of all sessions
-- ARGV: 1 what the names of sessions begin with, 2 hash of an id that stays ('' none), 3 at most so many
-- Replies {ended, 1 if there are more}.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local ended, most = 0, tonumber(ARGV[3])

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for _, h in ipairs(redis.call('ZRANGE', KEYS[1], 0, most)) do
	if h ~= ARGV[2] and most > 0 then
		ended = ended + redis.call('DEL', ARGV[1] .. h)
		redis.call('ZREM', KEYS[1], h)
		redis.call('ZREM', KEYS[2], h)
		most = most - 1
	end
end
for i = 1, 2 do
	local last = redis.call('ZRANGE', KEYS[i], -1, -1, 'WITHSCORES')[2]
	if last then
		redis.call('PEXPIREAT', KEYS[i], last + (i == 2 and 60000 or 0))
	end
end
local left = redis.call('ZCARD', KEYS[1])
if ARGV[2] ~= '' and redis.call('ZSCORE', KEYS[1], ARGV[2]) then
	left = left - 1
end
return { ended, left > 0 and 1 or 0 }
