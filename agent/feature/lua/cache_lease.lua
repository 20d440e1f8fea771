-- The one script of get-or-set with leases: what moves the record of a key (feature/record.h says what is in one).
--
-- KEYS: the key, its record.  ARGV: what to do, then:
--   lease  TOKEN life-ms stale-ms early DEAD   TOKEN: for us, if we win.  early = 1: win although the value is fresh.
--                                              DEAD: a token of which the caller knows that it is over; "-": none
--   fill   TOKEN value quick ttl-ms stale-ms   stale-ms "-": what the lease said.  quick: the caller's hash of value
--   drop   TOKEN neg-ms reason                 nobody computes any more; neg-ms > 0: and there is nothing, for so long
--   clear  stale-ms CHECK                      0: value and record go; else the value is stale from now on and goes
--                                              after so long.  CHECK: only if that is the value's; "-": whatever it is
-- Replies: {now, word, ...}, now: this clock in Unix ms, which is all that expiries are compared with.
--   lease: HIT value age-ms | STALE value age-ms left-ms | WON value|nil age-ms | BUSY left-ms | NEG reason left-ms
--          age-ms -1: not known (a plain SET).  left-ms: of somebody's lease, of the negative answer
--   fill:  OK ms-it-took | LOST      drop: OK | LOST      clear: 1 | 0 (there was no such value)
-- A key that holds no string answers WRONGTYPE, but to `clear 0`.
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local key, rec, op = KEYS[1], KEYS[2], ARGV[1]
local SLACK = 1000 -- ms that a record outlives what it says: it must not be the first to go

if op == 'clear' and ARGV[2] == '0' and ARGV[3] == '-' then
    redis.call('DEL', rec)
    return {now, redis.call('DEL', key)}
end

local value = redis.call('GET', key)
local check = value and #value .. '.' .. string.sub(redis.sha1hex(value), 1, 16) or '-'

-- The record as it counts for the key as it is: {} if there is none.  One that is void goes: else its token would be
-- alive again as soon as the key is what it was.
local function load()
    local raw, r = redis.call('GET', rec), {}
    if not raw then return {} end
    local at, rl, ml
    r.check, r.quick, r.soft, r.hard, r.filled, r.delta, r.stale, r.token, r.won, r.till, r.neg, rl, ml, at = string.match(raw,
        '^1 (%S+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+)\n()')
    if not at or at - 1 + rl + ml ~= #raw then
        redis.call('DEL', rec)
        return {}
    end
    for _, f in ipairs({'soft', 'hard', 'filled', 'delta', 'stale', 'won', 'till', 'neg'}) do r[f] = tonumber(r[f]) end
    r.reason, r.meta = string.sub(raw, at, at - 1 + rl), string.sub(raw, at + rl)
    if r.check == check then return r end
    -- Gone when it was to go, and nobody wrote: whoever computes goes on, the rest is void.
    if not value and r.hard > 0 and now >= r.hard then
        return {stale = r.stale, token = r.token, won = r.won, till = r.till, neg = r.neg, reason = r.reason}
    end
    redis.call('DEL', rec)
    return {}
end

local function n(v) return string.format('%.0f', v or 0) end

-- Writes r as the record of the key as it is; life: ms that it must last at least.
local function save(r, life)
    local left = value and redis.call('PTTL', key) or -2
    if left >= 0 then r.hard = now + left else r.hard = 0 end
    local meta, reason = r.meta or '', r.reason or ''
    local raw = table.concat({'1', check, r.quick or '-', n(r.soft), n(r.hard), n(r.filled), n(r.delta), n(r.stale),
        r.token or '-', n(r.won), n(r.till), n(r.neg), #reason, #meta}, ' ') .. '\n' .. reason .. meta
    if left == -1 then
        redis.call('SET', rec, raw)
    else
        redis.call('SET', rec, raw, 'PX', n(math.max(left, life) + SLACK))
    end
end

local r = load()
local live = r.token and r.token ~= '-' and r.till > now
local age = (r.filled or 0) > 0 and math.max(now - r.filled, 0) or -1

if op == 'lease' then
    local token, life, stale, early, dead = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1', ARGV[6]
    if live and r.token == dead then live = false end
    if (r.neg or 0) > now then return {now, 'NEG', r.reason, r.neg - now} end
    if value and ((r.soft or 0) == 0 or now < r.soft) then
        if live or not early then return {now, 'HIT', value, age} end
    elseif live then
        if value then return {now, 'STALE', value, age, r.till - now} end
        return {now, 'BUSY', r.till - now}
    end
    r.token, r.won, r.till, r.stale, r.neg, r.reason = token, now, now + life, stale, 0, ''
    save(r, life)
    return {now, 'WON', value, age}
end

if op == 'clear' then
    local keep, want = tonumber(ARGV[2]), ARGV[3]
    if not value or (want ~= '-' and want ~= check) then
        if want == '-' then redis.call('DEL', rec) end
        return {now, 0}
    end
    if keep == 0 then
        redis.call('DEL', key, rec)
        return {now, 1}
    end
    local left = redis.call('PTTL', key)
    if left < 0 or left > keep then redis.call('PEXPIRE', key, keep) end
    -- Long ago, so that it is past by every agent's idea of this clock.
    r.soft, r.token, r.won, r.till, r.stale, r.neg, r.reason = 1, '-', 0, 0, 0, 0, ''
    save(r, 0)
    return {now, 1}
end

-- fill, drop: the lease's own
if not live or r.token ~= ARGV[2] then return {now, 'LOST'} end
local took = math.max(now - r.won, 0)
if op == 'fill' then
    local ttl, stale = tonumber(ARGV[5]), ARGV[6] == '-' and r.stale or tonumber(ARGV[6])
    value = ARGV[3]
    check = #value .. '.' .. string.sub(redis.sha1hex(value), 1, 16)
    redis.call('SET', key, value, 'PX', n(ttl + stale))
    save({quick = ARGV[4], soft = now + ttl, filled = now, delta = took}, 0)
    return {now, 'OK', took}
end

local neg = tonumber(ARGV[3])
r.token, r.won, r.till, r.stale = '-', 0, 0, 0
if neg > 0 then r.neg, r.reason = now + neg, ARGV[4] end
if value or neg > 0 then save(r, neg) else redis.call('DEL', rec) end
return {now, 'OK'}
