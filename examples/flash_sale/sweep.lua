-- Answers pending orders that nobody has handed over for a while, and takes note that this is being
-- done now, so that of several sweepers only one does it.
--
-- KEYS: the pending orders
-- ARGV: how long, in milliseconds; how many at most

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1], 'LIMIT', 0, ARGV[2])
for _, order in ipairs(due) do
    redis.call('ZADD', KEYS[1], now, order)
end
return due
