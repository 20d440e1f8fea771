-- STREAM.LAG: how far the groups of a stream are behind.
-- KEYS[1] the stream   ARGV[1] of how many groups at most
-- {entries, groups, {name, consumers, pending, last-delivered, lag | nil, oldest, its age in ms, its idle ms, its deliveries} ...}
-- oldest is the first pending entry, "" where nothing is pending; its age is by the time in its id, -1 if that is no time past.
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if groups.err then
    return groups
end
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local out = {redis.call('XLEN', KEYS[1]), #groups}
for i = 1, math.min(#groups, tonumber(ARGV[1])) do
    local g = {}
    for at = 1, #groups[i], 2 do
        g[groups[i][at]] = groups[i][at + 1]
    end
    local oldest, age, idle, times = '', -1, -1, -1
    local first = g.pending > 0 and redis.call('XPENDING', KEYS[1], g.name, '-', '+', 1)[1]
    if first then
        oldest, idle, times = first[1], first[3], first[4]
        local born = tonumber(string.match(oldest, '^%d+'))
        if born <= now then age = now - born end
    end
    out[#out + 1] = {g.name, g.consumers, g.pending, g['last-delivered-id'], g.lag or false, oldest, age, idle, times}
end
return out
