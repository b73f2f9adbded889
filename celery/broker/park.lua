-- Moves a message from a claim key to the parked tasks, if the claim is still there. It lies where a stock worker left alone would
-- find it: in kombu's unacked, with the time it is due as its score.
-- KEYS[1] claim key, KEYS[2] unacked, KEYS[3] unacked_index, KEYS[4] parked
-- ARGV[1] tag, ARGV[2] JSON [envelope, exchange, routing key], ARGV[3] when it is due, in seconds
-- Returns 1, or 0 if the claim was gone and nothing was done.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[4], ARGV[3], ARGV[1])
redis.call('DEL', KEYS[1]) -- last: what Redis may refuse comes first
return 1
