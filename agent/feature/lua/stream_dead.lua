-- STREAM.DEADLETTER: entries of a group that were delivered too often go to another stream, each with where it came
-- from, and are acknowledged: a part of those that are pending, in one step.
-- KEYS: the stream, the target   ARGV: group, the stream's name as clients know it, deliveries, idle ms, where to begin
--   (an id, "(" in front: behind it), how many pending entries to look at
-- {moved, gone, looked at, the last that was looked at | ""}: gone were acknowledged because the stream has them no more;
-- "": there are no more
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'none' and kind ~= 'stream' then
    return redis.error_reply('WRONGTYPE Operation against a key holding the wrong kind of value')
end
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[4], ARGV[5], '+', ARGV[6])
if pending.err then
    return pending
end
local moved, gone, last = 0, 0, ''
for _, p in ipairs(pending) do
    last = p[1]
    if p[4] > tonumber(ARGV[3]) then
        local entry = redis.call('XRANGE', KEYS[1], p[1], p[1])[1]
        if entry then
            local words = entry[2]
            for _, w in ipairs({'purser.stream', ARGV[2], 'purser.id', p[1], 'purser.group', ARGV[1], 'purser.consumer',
                p[2], 'purser.deliveries', tostring(p[4])}) do
                words[#words + 1] = w
            end
            redis.call('XADD', KEYS[2], '*', unpack(words))
            moved = moved + 1
        else
            gone = gone + 1
        end
        redis.call('XACK', KEYS[1], ARGV[1], p[1])
    end
end
if #pending < tonumber(ARGV[6]) then last = '' end
return {moved, gone, #pending, last}
