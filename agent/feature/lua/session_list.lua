-- The sessions of a user, those that live longest first.  What has expired leaves the index before, what is not there now.
-- KEYS: 1 the index of the user's sessions, 2 the index of all sessions
-- ARGV: 1 what the names of sessions begin with, 2 at most so many
-- Replies {now, {hash of the id, created, seen, expires, absolute end or 0, version}, ...}; a list as long as the limit may not be all.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local out = { now }

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for _, h in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, ARGV[2] - 1)) do
	local s = redis.call('HMGET', ARGV[1] .. h, 'created', 'seen', 'exp', 'abs', 'v')
	if s[5] then
		out[#out + 1] = { h, tonumber(s[1]), tonumber(s[2]), tonumber(s[3]), tonumber(s[4]), tonumber(s[5]) }
	else -- evicted, or removed by hand
		redis.call('ZREM', KEYS[1], h)
		redis.call('ZREM', KEYS[2], h)
	end
end
for i = 1, 2 do
	local last = redis.call('ZRANGE', KEYS[i], -1, -1, 'WITHSCORES')[2]
	if last then
		redis.call('PEXPIREAT', KEYS[i], last + (i == 2 and 60000 or 0))
	end
end
return out
