-- Gives a session another id, and perhaps to a user.  Its end, its data and its version stay; the old id says so
-- for a while, and leads nowhere.
-- KEYS: 1 the session, 2 the same under its new id, 3 the index of all sessions
-- ARGV: 1 hash of the id, 2 hash of the new id, 3 what the names of users' indexes begin with, 4 ms that the old id says so,
--       5 1: to the user of ARGV 6; 0: whose it was
-- Replies {1, now, expires, version, absolute end or 0, user}, {0}: gone, {2}: it has another id now, {-1}: the new id is taken.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local s = redis.call('HMGET', KEYS[1], 'uid', 'exp', 'v', 'abs', 'rot')

if s[5] then
	return { 2 }
end
if not s[1] or now >= tonumber(s[2]) then
	return { 0 }
end
if redis.call('RENAMENX', KEYS[1], KEYS[2]) == 0 then
	return { -1 }
end
local user = ARGV[5] == '1' and ARGV[6] or s[1]
if user ~= s[1] then
	redis.call('HSET', KEYS[2], 'uid', user)
end
redis.call('HSET', KEYS[1], 'rot', now)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[3], s[2], ARGV[2])
if s[1] ~= '' then
	redis.call('ZREM', ARGV[3] .. s[1], ARGV[1])
end
if user ~= '' then
	redis.call('ZREMRANGEBYSCORE', ARGV[3] .. user, '-inf', now)
	redis.call('ZADD', ARGV[3] .. user, s[2], ARGV[2])
end
local index = { KEYS[3], ARGV[3] .. s[1], ARGV[3] .. user }
for i = 1, #index do
	local last = redis.call('ZRANGE', index[i], -1, -1, 'WITHSCORES')[2]
	if last then
		redis.call('PEXPIREAT', index[i], last + (i == 1 and 60000 or 0))
	end
end
return { 1, now, tonumber(s[2]), tonumber(s[3]), tonumber(s[4]), user }
