-- Ledgers in Redis. One call of this script is atomic; time is the server's.
--
-- KEYS: three for each ledger: its state (fields `window` and `taken`), its leases by the time they run out, and what
-- each lease holds (`u` or `s` for unsent or sent, then the amount).
-- ARGV: what to do, the lease's name, then what that needs.
--
-- Amounts are whole pico-dollars beyond what a Lua number holds exactly. They stay strings; only Redis adds them, in 64
-- bits, and Lua looks at nothing but the sign of a sum, which no rounding changes.

local action, lease = ARGV[1], ARGV[2]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local ledgers = #KEYS / 3

local function keys(ledger)
  return KEYS[3 * ledger - 2], KEYS[3 * ledger - 1], KEYS[3 * ledger]
end

local function negative(amount)
  if amount == '0' then return '0' end
  return '-' .. amount
end

-- Begins a new window where one is due, and gives back what ran out unsent. What ran out after it was sent stays taken.
local function bring_up_to_date(ledger, length)
  local state, due, held = keys(ledger)
  local window = math.floor(now / length)
  if window > tonumber(redis.call('HGET', state, 'window') or '-1') then
    redis.call('DEL', state, due, held)
    redis.call('HSET', state, 'window', window, 'taken', '0')
  end
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, 200)) do
    local kept = redis.call('HGET', held, old)
    if kept and string.sub(kept, 1, 1) == 'u' then
      redis.call('HINCRBY', state, 'taken', negative(string.sub(kept, 2)))
    end
    redis.call('HDEL', held, old)
    redis.call('ZREM', due, old)
  end
end

if action == 'reserve' then
  -- lease, hold in ms, amount; for each ledger: window in ms, amount - limit, limit - amount.
  local hold, amount = tonumber(ARGV[3]), ARGV[4]
  for ledger = 1, ledgers do
    local length = tonumber(ARGV[3 * ledger + 2])
    bring_up_to_date(ledger, length)
    local state = keys(ledger)
    local over = redis.call('HINCRBY', state, 'taken', ARGV[3 * ledger + 3])
    redis.call('HINCRBY', state, 'taken', ARGV[3 * ledger + 4])
    if over > 0 then
      return { 0, ledger, length - now % length }
    end
  end
  for ledger = 1, ledgers do
    local state, due, held = keys(ledger)
    local keep = tonumber(ARGV[3 * ledger + 2]) + 86400000
    redis.call('HINCRBY', state, 'taken', amount)
    redis.call('ZADD', due, now + hold, lease)
    redis.call('HSET', held, lease, 'u' .. amount)
    redis.call('PEXPIRE', state, keep)
    redis.call('PEXPIRE', due, keep)
    redis.call('PEXPIRE', held, keep)
  end
  return { 1, 0, 0 }
end

if action == 'sent' then
  -- lease, lifetime in ms. A lease that is missing in one ledger ran out, or its window did: it is given back in all.
  local whole = true
  for ledger = 1, ledgers do
    local _, due, held = keys(ledger)
    local out = tonumber(redis.call('ZSCORE', due, lease) or '0') <= now
    if out or not redis.call('HGET', held, lease) then whole = false end
  end
  for ledger = 1, ledgers do
    local state, due, held = keys(ledger)
    local kept = redis.call('HGET', held, lease)
    if whole then
      redis.call('ZADD', due, now + tonumber(ARGV[3]), lease)
      redis.call('HSET', held, lease, 's' .. string.sub(kept, 2))
    elseif kept then
      redis.call('HINCRBY', state, 'taken', negative(string.sub(kept, 2)))
      redis.call('HDEL', held, lease)
      redis.call('ZREM', due, lease)
    end
  end
  return { whole and 1 or 0, 0, 0 }
end

if action == 'settle' then
  -- lease, cost - amount. A lease that has gone was charged in full, or its window has passed.
  for ledger = 1, ledgers do
    local state, due, held = keys(ledger)
    if redis.call('HDEL', held, lease) == 1 then
      redis.call('HINCRBY', state, 'taken', ARGV[3])
      redis.call('ZREM', due, lease)
    end
  end
  return { 1, 0, 0 }
end

-- 'burn': window in ms. What is taken, as a string, and how much of the window has passed.
local length = tonumber(ARGV[3])
bring_up_to_date(1, length)
local state = keys(1)
redis.call('PEXPIRE', state, length + 86400000)
return { redis.call('HGET', state, 'taken'), 0, now % length }
