-- Takes one piece for a buyer, all or nothing: a script runs alone in Redis.
--
-- KEYS: the stock, the set of its buyers, the pending orders
-- ARGV: the buyer, the order
-- Answers 1: taken; 2: this buyer has one already; 0: sold out

if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then
    return 2
end
if tonumber(redis.call('GET', KEYS[1]) or '0') < 1 then
    return 0
end
redis.call('DECR', KEYS[1])
redis.call('SADD', KEYS[2], ARGV[1])

-- The order is pending until the database has it: whatever happens to the one who called this,
-- the sweeper finds it here.
local now = redis.call('TIME')
redis.call('ZADD', KEYS[3], now[1] * 1000 + math.floor(now[2] / 1000), ARGV[2])
return 1
