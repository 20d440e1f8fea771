-- Ends a session.
-- KEYS: 1 the session, 2 the index of all sessions
-- ARGV: 1 hash of the id, 2 what the names of users' indexes begin with, 3 only if it is this user's ('' whosever it is)
-- Replies 1, or 0: there was none.
local s = redis.call('HMGET', KEYS[1], 'uid', 'rot')

if s[2] then
	return 0 -- the old id after a rotation: it goes on saying so
end
if s[1] and ARGV[3] ~= '' and ARGV[3] ~= s[1] then
	return 0
end
redis.call('DEL', KEYS[1])
local index = { KEYS[2], s[1] and s[1] ~= '' and ARGV[2] .. s[1] or nil }
for i = 1, #index do
	redis.call('ZREM', index[i], ARGV[1])
	local last = redis.call('ZRANGE', index[i], -1, -1, 'WITHSCORES')[2]
	if last then
		redis.call('PEXPIREAT', index[i], last + (i == 1 and 60000 or 0))
	end
end
return s[1] and 1 or 0
