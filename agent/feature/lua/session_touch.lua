-- Moves the end of a session that is in use.
-- KEYS: 1 the session, 2 the index of all sessions
-- ARGV: 1 hash of the id, 2 what the names of users' indexes begin with,
--       3 0: slide, if that moves the end by more than a tenth of the idle time; else it lives at least so many ms from now
-- Replies {1, now, expires, seen}, {0}: gone, or {2}: it has another id now.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local s = redis.call('HMGET', KEYS[1], 'uid', 'idle', 'exp', 'abs', 'seen', 'rot')

if s[6] then
	return { 2 }
end
if not s[1] or now >= tonumber(s[3]) then
	return { 0 }
end
local idle, exp, abs, seen = tonumber(s[2]), tonumber(s[3]), tonumber(s[4]), tonumber(s[5])
local more = tonumber(ARGV[3])
local new = now + (more > 0 and more or idle)
if abs > 0 then
	new = math.min(new, abs)
end
if new - exp <= (more > 0 and 0 or idle / 10) then
	return { 1, now, exp, seen }
end
redis.call('HSET', KEYS[1], 'exp', new, 'seen', now)
redis.call('PEXPIREAT', KEYS[1], new - 1)
local index = { KEYS[2], s[1] ~= '' and ARGV[2] .. s[1] or nil }
for i = 1, #index do
	redis.call('ZADD', index[i], new, ARGV[1])
	local last = redis.call('ZRANGE', index[i], -1, -1, 'WITHSCORES')[2]
	redis.call('PEXPIREAT', index[i], last + (i == 1 and 60000 or 0))
end
return { 1, now, new, now }
