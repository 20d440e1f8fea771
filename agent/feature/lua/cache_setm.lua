-- CACHE.SETM: a value and its metadata, in one step.  Whoever was computing the value does so in vain.
-- KEYS: the key, its record (feature/record.h)   ARGV: value, its check, its quick hash, life in ms or "-", metadata
-- Replies OK.
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local SLACK = 1000 -- ms that the record outlives the value: it must not be the first to go
local life, hard = tonumber(ARGV[4]), 0
if life then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[4])
    hard = now + life
else
    redis.call('SET', KEYS[1], ARGV[1])
end
local raw = string.format('1 %s %s 0 %.0f %.0f 0 0 - 0 0 0 0 %d\n%s', ARGV[2], ARGV[3], hard, now, #ARGV[5], ARGV[5])
if life then
    redis.call('SET', KEYS[2], raw, 'PX', string.format('%.0f', life + SLACK))
else
    redis.call('SET', KEYS[2], raw)
end
return 'OK'
