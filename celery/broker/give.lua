-- Takes a message out of a claim key and puts an edited copy into a queue, if the claim is still there.
-- KEYS[1] claim key, KEYS[2] queue key
-- ARGV[1] the edited message, ARGV[2] LPUSH (to the back) or RPUSH (to the consuming end)
-- Returns 1, or 0 if the claim was gone and nothing was done.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call(ARGV[2], KEYS[2], ARGV[1]) -- first what Redis may refuse
redis.call('LPOP', KEYS[1])
return 1
