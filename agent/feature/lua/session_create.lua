-- A new session, in the indexes at once.
-- KEYS: 1 the session, 2 the index of all sessions, 3 the index of the user's (not given: anonymous)
-- ARGV: 1 hash of the id, 2 user, 3 idle ms, 4 ms until its absolute end (0 none), 5... field, JSON text, ...
-- Replies {1, now, expires, absolute end or 0}, or {-1}: the id is taken.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local idle, abs = tonumber(ARGV[3]), tonumber(ARGV[4])

if redis.call('EXISTS', KEYS[1]) == 1 then
	return { -1 }
end
local exp = now + idle
if abs > 0 then
	abs = now + abs
	exp = math.min(exp, abs)
end
local words = { 'v', 1, 'uid', ARGV[2], 'created', now, 'seen', now, 'abs', abs, 'idle', idle, 'exp', exp }
for i = 5, #ARGV, 2 do
	words[#words + 1] = 'd:' .. ARGV[i]
	words[#words + 1] = ARGV[i + 1]
end
redis.call('HSET', KEYS[1], unpack(words))
-- Redis expires a key when its time has passed; a session is gone when its time is reached.
redis.call('PEXPIREAT', KEYS[1], exp - 1)
for i = 2, #KEYS do
	if i == 3 then
		redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
	end
	redis.call('ZADD', KEYS[i], exp, ARGV[1])
	-- An index ends with the last of its sessions; that of all a minute later, so that clean-up can count them.
	local last = redis.call('ZRANGE', KEYS[i], -1, -1, 'WITHSCORES')[2]
	redis.call('PEXPIREAT', KEYS[i], last + (i == 2 and 60000 or 0))
end
return { 1, now, exp, abs }
