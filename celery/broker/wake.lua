-- Moves parked messages that are due to their queues. Whoever removes the field of unacked owns the message, so each goes once.
-- KEYS[1] unacked, KEYS[2] unacked_index, KEYS[3] parked, KEYS[3+i] queue key of the i-th message
-- ARGV[2i-1] tag, ARGV[2i] envelope of the i-th message; the one that is due first comes last and is consumed first
-- Returns how many were moved.
local moved = 0
for i = 1, #KEYS - 3 do
  local tag = ARGV[2 * i - 1]
  if redis.call('HEXISTS', KEYS[1], tag) == 1 then
    redis.call('RPUSH', KEYS[3 + i], ARGV[2 * i]) -- first what Redis may refuse
    redis.call('HDEL', KEYS[1], tag)
    moved = moved + 1
  end
  redis.call('ZREM', KEYS[2], tag)
  redis.call('ZREM', KEYS[3], tag)
end
return moved
