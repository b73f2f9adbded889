-- Removes a chord's data after its body was sent, if the claim is still ours, and remembers that it is done.
-- KEYS  1 .c   2 .j   3 .t   4 .s   5 .d
-- ARGV  1 token   2 seconds to remember it
-- returns 1 if it was ours, else 0
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
redis.call('SET', KEYS[1], 'done', 'EX', ARGV[2])
return 1
