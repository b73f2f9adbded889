-- Adds one part of a chord's header, once, and claims the sending of the body if it was the last.
-- The same keys as Celery's: 5.2 to 5.6 know .j .t .s; 5.7 also .d (who has returned) and .c (who sends the body).
-- KEYS  1 .j parts   2 .t correction of the size   3 .s size   4 .d   5 saved group   6 .c
-- ARGV  1 task id   2 part   3 1: zset, 0: list   4 score   5 expiry in seconds, 0: none   6 seconds of the claim   7 token of who sends: the task id,
--       so that a task that died while it sent the body sends it when it runs again   8 1: the message was delivered before
-- returns 1 if the caller sends the body, else 0
-- A frozen chord that is applied again has the same ids. Its first part may be here before its sender has removed the mark.
if ARGV[8] == '1' and redis.call('GET', KEYS[6]) == 'done' then
  return 0
end
if redis.call('SADD', KEYS[4], ARGV[1] .. ':' .. ARGV[4]) == 1 then
  if ARGV[3] == '1' then
    redis.call('ZADD', KEYS[1], ARGV[4], ARGV[2])
  else
    redis.call('RPUSH', KEYS[1], ARGV[2])
  end
end
local count = redis.call(ARGV[3] == '1' and 'ZCARD' or 'LLEN', KEYS[1])
local expiry = tonumber(ARGV[5])
if expiry > 0 then
  for i = 1, 5 do
    redis.call('EXPIRE', KEYS[i], expiry)
  end
end
local size = redis.call('GET', KEYS[3])
if not size or count ~= tonumber(size) + tonumber(redis.call('GET', KEYS[2]) or 0) then
  return 0
end
if redis.call('SET', KEYS[6], ARGV[7], 'NX', 'EX', ARGV[6]) or redis.call('GET', KEYS[6]) == ARGV[7] then
  return 1
end
return 0
