-- Moves a dead letter back to its queue.
-- KEYS[1] dead letters, KEYS[2] their index, KEYS[3] queue key
-- ARGV[1] id, ARGV[2] the message
-- Returns 1, or 0 if it is not there any more.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return 0
end
redis.call('LPUSH', KEYS[3], ARGV[2]) -- first what Redis may refuse
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
