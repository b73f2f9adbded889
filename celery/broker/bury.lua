-- Moves a message from a claim key to the dead letters, if the claim is still there, and drops what is too old or too much.
-- KEYS[1] claim key, KEYS[2] dead letters, KEYS[3] their index by time
-- ARGV[1] id, ARGV[2] the dead letter as JSON, ARGV[3] now in seconds, ARGV[4] oldest time to keep, ARGV[5] most to keep
-- Returns 1, or 0 if the claim was gone and nothing was done.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
redis.call('LPOP', KEYS[1]) -- after what Redis may refuse
local function drop(ids)
  for _, id in ipairs(ids) do
    redis.call('HDEL', KEYS[2], id)
    redis.call('ZREM', KEYS[3], id)
  end
end
drop(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '(' .. ARGV[4], 'LIMIT', 0, 100))
local surplus = redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[5])
if surplus > 0 then
  drop(redis.call('ZRANGE', KEYS[3], 0, math.min(surplus, 100) - 1))
end
return 1
