-- Changes the named fields of a session, and no others; never creates one.  It slides as a read does.
-- KEYS: 1 the session, 2 the index of all sessions
-- ARGV: 1 hash of the id, 2 what the names of users' indexes begin with, 3 the version it must have ('' any),
--       4 most fields, 5... field, JSON text ('' removes the field), ...
-- Replies {1, now, expires, version}, {0}: gone, {2}: it has another id now, {3, version}: another version,
-- {4}: too many fields.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local s = redis.call('HMGET', KEYS[1], 'uid', 'idle', 'exp', 'abs', 'v', 'rot')

if s[6] then
	return { 2 }
end
if not s[1] or now >= tonumber(s[3]) then
	return { 0 }
end
local idle, exp, abs, v = tonumber(s[2]), tonumber(s[3]), tonumber(s[4]), tonumber(s[5])
if ARGV[3] ~= '' and ARGV[3] ~= s[5] then
	return { 3, v }
end
local fields, seen = redis.call('HLEN', KEYS[1]) - 7, {}
for i = 5, #ARGV, 2 do
	local name, value = 'd:' .. ARGV[i], ARGV[i + 1]
	local there = seen[name]
	if there == nil then
		there = redis.call('HEXISTS', KEYS[1], name) == 1
	end
	seen[name] = value ~= ''
	fields = fields + (seen[name] and 1 or 0) - (there and 1 or 0)
end
if fields > tonumber(ARGV[4]) then
	return { 4 }
end
for i = 5, #ARGV, 2 do
	if ARGV[i + 1] == '' then
		redis.call('HDEL', KEYS[1], 'd:' .. ARGV[i])
	else
		redis.call('HSET', KEYS[1], 'd:' .. ARGV[i], ARGV[i + 1])
	end
end
v = redis.call('HINCRBY', KEYS[1], 'v', 1)
local new = now + idle
if abs > 0 then
	new = math.min(new, abs)
end
if new - exp <= idle / 10 then
	return { 1, now, exp, v }
end
redis.call('HSET', KEYS[1], 'exp', new, 'seen', now)
redis.call('PEXPIREAT', KEYS[1], new - 1)
local index = { KEYS[2], s[1] ~= '' and ARGV[2] .. s[1] or nil }
for i = 1, #index do
	redis.call('ZADD', index[i], new, ARGV[1])
	local last = redis.call('ZRANGE', index[i], -1, -1, 'WITHSCORES')[2]
	redis.call('PEXPIREAT', index[i], last + (i == 1 and 60000 or 0))
end
return { 1, now, new, v }
