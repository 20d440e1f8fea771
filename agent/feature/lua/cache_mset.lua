-- CACHE.MSET: many values with one life, in one step.
-- KEYS: the keys   ARGV: life in ms, then a value for each key
-- Replies how many there were.
for i, key in ipairs(KEYS) do
    redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1])
end
return #KEYS
