-- CACHE.INCRBY: a counter with an expiry that is set when it is created.
-- KEYS[1] the counter   ARGV[1] what is added   ARGV[2] its life in ms, if it is new
-- The new value as a string: a Lua number would lose digits above 2^53.
local new = redis.call('EXISTS', KEYS[1]) == 0
local sum = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(sum) == 'table' then
  return sum
end
if new then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return redis.call('GET', KEYS[1])
