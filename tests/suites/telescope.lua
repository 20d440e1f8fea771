-- SPDX-License-Identifier: Apache-2.0
-- What the suite of lua-redis needs of the test framework "telescope", which Debian does not have: contexts with
-- before and after, tests, assertions.  lua telescope.lua FILE: a line "ok - name" or "not ok - name" for each test.  The server
-- is at PURSER_SUITE_PORT where the suite says 6379.

local contexts, names = { {} }, {}
local env = setmetatable({}, { __index = _G })
local tsc = {}

local function fail(text) error(text, 3) end

function tsc.make_assertion(name, text, check)
    env["assert_" .. name] = function(...)
        if not check(...) then
            local shown = {}
            for i = 1, select("#", ...) do shown[i] = tostring((select(i, ...))) end
            fail("expected " .. text:gsub("%%s", "?") .. ": " .. table.concat(shown, ", "))
        end
    end
end

local function compares(name, check) tsc.make_assertion(name, name, check) end
compares("equal", function(a, b) return a == b end)
compares("true", function(a) return a == true end)
compares("false", function(a) return a == false end)
compares("nil", function(a) return a == nil end)
compares("not_nil", function(a) return a ~= nil end)
compares("type", function(a, b) return type(a) == b end)
compares("empty", function(a) return a == "" or (type(a) == "table" and next(a) == nil) end)
compares("greater_than", function(a, b) return a > b end)
compares("gte", function(a, b) return a >= b end)
compares("lte", function(a, b) return a <= b end)
compares("error", function(f) return not pcall(f) end)

function env.before(f) contexts[#contexts].before = f end
function env.after(f) contexts[#contexts].after = f end

function env.context(name, f)
    contexts[#contexts + 1], names[#names + 1] = {}, name
    f()
    contexts[#contexts], names[#names] = nil, nil
end

function env.test(name, f)
    local why
    local function run(g)
        local ok, err = pcall(g)
        why = why or (not ok and tostring(err)) or nil
    end
    for _, c in ipairs(contexts) do
        if c.before and not why then run(c.before) end
    end
    if not why then run(f) end
    for i = #contexts, 1, -1 do
        if contexts[i].after then pcall(contexts[i].after) end
    end
    print((why and "not ok - " or "ok - ") .. table.concat(names, " / ") .. " / " .. name)
    if why then print("# " .. why) end
end

package.preload.telescope = function() return tsc end
socket = require "socket" -- telescope has it as a global
local f = assert(io.open(arg[1]))
local text = f:read("*a"):gsub("6379", os.getenv("PURSER_SUITE_PORT"))
f:close()
local suite = assert(loadstring(text, "@" .. arg[1]))
setfenv(suite, env)
suite()
