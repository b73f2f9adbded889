-- Moves one message that a stock worker left in unacked to the consuming end of its queues (kombu QoS.restore_by_tag).
-- KEYS[1] unacked, KEYS[2] unacked_index, KEYS[3...] queue keys
-- ARGV[1] tag, ARGV[2] the edited envelope
-- Returns 1, or 0 if somebody acknowledged or restored it before.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return 0
end
for i = 3, #KEYS do
  redis.call('RPUSH', KEYS[i], ARGV[2])
end
redis.call('ZREM', KEYS[2], ARGV[1]) -- after what Redis may refuse
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
