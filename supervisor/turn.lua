-- Takes the next turn of a task that may begin only so often on all nodes together.
-- KEYS[1] when the turn after the last that was taken is, in microseconds; gone when that is past
-- ARGV[1] now, ARGV[2] time between two turns, in microseconds
-- Returns when the turn is, in microseconds.
local now, every = tonumber(ARGV[1]), tonumber(ARGV[2])
local turn = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
local next = turn + every
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', string.format('%.0f', math.max(1, math.ceil((next - now) / 1000))))
return turn
