#!lua name=crossover

-- The steps of the Redis event log that must be atomic. Loaded by `ensure`, and by a client that misses
-- them. Keys of a topic: the stream itself (KEYS[1] throughout), and crossover:<topic>:... beside it.

local CONSUMER = 'crossover'
-- All members of a group share one consumer name, for only one is active at a time (the owner key says
-- which): no dead consumers pile up, and nothing pending has to be moved when a member leaves.

local ORIGIN = 'ce_crossoverorigin'
local PLACE = 'ce_crossoverplace'
local SWEPT = 'swept:'
local PRODUCER_LIMIT = 512
local PRODUCER_IDLE_SECONDS = 86400

-- Positions -----------------------------------------------------------------------------------------

-- Compares decimal numbers as text: sequence parts reach 2^64, beyond what a Lua number holds.
local function compare_numbers(a, b)
  if #a ~= #b then return #a < #b and -1 or 1 end
  if a == b then return 0 end
  return a < b and -1 or 1
end

local function compare(a, b)
  local a_time, a_count = string.match(a, '^(%d+)-(%d+)$')
  local b_time, b_count = string.match(b, '^(%d+)-(%d+)$')
  local order = compare_numbers(a_time, b_time)
  if order ~= 0 then return order end
  return compare_numbers(a_count, b_count)
end

local function fields_of(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

local function group_of(stream, name)
  if redis.call('EXISTS', stream) == 0 then return nil end
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local group = fields_of(flat)
    if group['name'] == name then return group end
  end
  return nil
end

local function place_of(stream, name)
  local group = group_of(stream, name)
  if not group then error({err = 'NOGROUP the group ' .. name .. ' of ' .. stream .. ' is gone'}) end
  return group['last-delivered-id']
end

-- Writing -------------------------------------------------------------------------------------------

local function forget_idle_producers(producers, now)
  if redis.call('HLEN', producers) < PRODUCER_LIMIT then return end
  local all = redis.call('HGETALL', producers)
  for i = 1, #all, 2 do
    local used = string.match(all[i + 1], '^%d+ (%d+) ')
    if now - tonumber(used) > PRODUCER_IDLE_SECONDS then redis.call('HDEL', producers, all[i]) end
  end
end

local function add_all(stream, maxlen, args, first, extra_field, extra_value)
  local ids = {}
  while first <= #args do
    local count = tonumber(args[first])
    local command = {'XADD', stream}
    if maxlen > 0 then
      command[3], command[4], command[5] = 'MAXLEN', '~', maxlen
    end
    command[#command + 1] = '*'
    for i = first + 1, first + count do command[#command + 1] = args[i] end
    if extra_field then
      command[#command + 1] = extra_field
      command[#command + 1] = extra_value
    end
    ids[#ids + 1] = redis.call(unpack(command))
    first = first + count + 1
  end
  return ids
end

-- KEYS: stream, producers, seal. ARGS: producer, sequence, maxlen (0: keep all), then for each event
-- the number of its fields and values, and these. A batch is answered the same however often it comes.
local function append(keys, args)
  local stream, producers, seal = keys[1], keys[2], keys[3]
  local producer, sequence, maxlen = args[1], tonumber(args[2]), tonumber(args[3])
  local now = tonumber(redis.call('TIME')[1])
  local record = redis.call('HGET', producers, producer)
  if record then
    local last, outcome = string.match(record, '^(%d+) %d+ (.*)$')
    if sequence < tonumber(last) then return {'stale', last} end
    if sequence == tonumber(last) then
      -- Written again, so that a WAITAOF on this connection waits for what came by another.
      redis.call('HSET', producers, producer, record)
      local epoch = string.match(outcome, '^sealed (%d+)$')
      if epoch then return {'sealed', epoch} end
      return {'stored', outcome}
    end
  else
    forget_idle_producers(producers, now)
  end
  local head = args[2] .. ' ' .. string.format('%d', now) .. ' '
  local epoch = redis.call('GET', seal)
  if epoch then
    -- Remembered: a copy of this request that the network delayed must not be stored after an unseal.
    redis.call('HSET', producers, producer, head .. 'sealed ' .. epoch)
    return {'sealed', epoch}
  end
  local ids = table.concat(add_all(stream, maxlen, args, 4), ' ')
  redis.call('HSET', producers, producer, head .. ids)
  return {'stored', ids}
end

-- KEYS: stream, seal. ARGS: epoch.
local function seal(keys, args)
  local current = redis.call('GET', keys[2])
  if not current or tonumber(current) < tonumber(args[1]) then redis.call('SET', keys[2], args[1]) end
  return redis.status_reply('OK')
end

-- Copying -------------------------------------------------------------------------------------------

-- KEYS: stream, copier. A new session, older ones are refused from here on; -1 where no copies are taken.
local function open_copier(keys, args)
  if redis.call('HEXISTS', keys[2], 'closed') == 1 then return -1 end
  redis.call('HSET', keys[2], 'sequence', 0)
  return redis.call('HINCRBY', keys[2], 'session', 1)
end

-- KEYS: stream, copier, copied. ARGS: source, session, sequence, reached, maxlen, then events as in append.
local function copy(keys, args)
  local session = redis.call('HGET', keys[2], 'session')
  if session ~= args[2] then return {'fenced', session or '0'} end
  if redis.call('HGET', keys[2], 'sequence') == args[3] then
    redis.call('HSET', keys[2], 'sequence', args[3])
    return {'copied'}
  end
  add_all(keys[1], tonumber(args[5]), args, 6, ORIGIN, args[1])
  redis.call('HSET', keys[2], 'sequence', args[3])
  redis.call('HSET', keys[3], args[1], args[4])
  return {'copied'}
end

-- KEYS: stream, copier, copied. ARGS: source. No copies from here on; how far they come, '' where there are none.
local function close_copies(keys, args)
  redis.call('HSET', keys[2], 'closed', 1)
  redis.call('HINCRBY', keys[2], 'session', 1)
  return redis.call('HGET', keys[3], args[1]) or ''
end

-- KEYS: stream, copier, copied. ARGS: source, a cursor. Where copies were not taken, they are again, of what comes
-- after the cursor.
local function open_copies(keys, args)
  if redis.call('HDEL', keys[2], 'closed') == 1 then redis.call('HSET', keys[3], args[1], args[2]) end
  return redis.status_reply('OK')
end

-- KEYS: stream, taken. ARGS: epoch of the other log's segment, then partition and offset by turns: the group of this
-- key took all before them there. A field a partition and segment is kept, for a group may be far behind.
local function note_taken(keys, args)
  for i = 2, #args, 2 do
    local field = args[1] .. ':' .. args[i]
    local known = redis.call('HGET', keys[2], field)
    if not known or compare_numbers(known, args[i + 1]) < 0 then redis.call('HSET', keys[2], field, args[i + 1]) end
  end
  return redis.status_reply('OK')
end

-- Reading -------------------------------------------------------------------------------------------

-- 0: another member is active; 1: we were active already; 2: we have just become so.
local function hold(owner, member, lease)
  local current = redis.call('GET', owner)
  if current and current ~= member then return 0 end
  redis.call('SET', owner, member, 'PX', lease)
  return current and 1 or 2
end

-- Whether an entry is a copy that does not count as content, and its place in the log that it was copied from.
local function copied_from(fields)
  local origin, place
  for i = 1, #fields, 2 do
    if fields[i] == ORIGIN then origin = fields[i + 1] end
    if fields[i] == PLACE then place = fields[i + 1] end
  end
  return origin ~= nil and string.sub(origin, 1, #SWEPT) ~= SWEPT, place
end

-- Whether the group took what lies at `place`, by its record, which is read at the first question.
local function was_taken(record, place)
  if not record.key then return false end
  if not record.fields then record.fields = fields_of(redis.call('HGETALL', record.key)) end
  local segment, position = string.match(place, '^(%d+:%d+):(%d+)$')
  local taken = segment and record.fields[segment]
  return taken and compare_numbers(position, taken) < 0
end

-- Takes out of `entries`, and acknowledges, what the group is not to be given: copies where they do not count, and
-- what it took already where that was copied from.
local function sift(stream, group, entries, copies_count, taken_key)
  local kept, passed, record = {}, {}, {key = taken_key}
  for _, entry in ipairs(entries) do
    local copy, place = copied_from(entry[2])
    if (copy and not copies_count) or (place and was_taken(record, place)) then
      passed[#passed + 1] = entry[1]
    else
      kept[#kept + 1] = entry
    end
  end
  for first = 1, #passed, 1000 do
    redis.call('XACK', stream, group, unpack(passed, first, math.min(first + 999, #passed)))
  end
  return kept
end

-- The next page of what is pending after `after`, claimed: entries, the last id looked at, delivery counts.
local function claim(stream, group, after, bound, count)
  local low = after == '' and '-' or '(' .. after
  local pending = redis.call('XPENDING', stream, group, low, bound == '' and '+' or bound, count)
  if #pending == 0 then return nil end
  local ids, counts = {}, {}
  for i, item in ipairs(pending) do
    ids[i] = item[1]
    counts[item[1]] = item[4] + 1
  end
  return redis.call('XCLAIM', stream, group, CONSUMER, 0, unpack(ids)), ids[#ids], counts
end

-- How many entries may be read so that the group never passes `bound`: what lies beyond belongs to a later
-- segment. Where nothing is left before the bound, the group is moved onto it.
local function allowed(stream, group, bound, count)
  local last = place_of(stream, group)
  if compare(last, bound) >= 0 then return 0 end
  local ahead = #redis.call('XRANGE', stream, '(' .. last, bound, 'COUNT', count)
  if ahead == 0 then redis.call('XGROUP', 'SETID', stream, group, bound) end
  return ahead
end

-- KEYS: stream, owner, taken. ARGS: group, member, lease (ms), count, after (an id; '': all that is pending; '>': no
-- more pending), bound (an id, or '': open), copies ('1': deliver them).
-- Returns state, entries, delivery counts, next `after`, entries looked at, and where the group now stands.
local function read(keys, args)
  local stream, owner = keys[1], keys[2]
  local group, member, count, after, bound = args[1], args[2], tonumber(args[4]), args[5], args[6]
  local held = hold(owner, member, args[3])
  if held == 0 then return {'standby', redis.call('PTTL', owner)} end
  if held == 2 then after = '' end
  if after ~= '>' then
    local entries, last, counts = claim(stream, group, after, bound, count)
    if entries then
      entries = sift(stream, group, entries, args[7] == '1', keys[3])
      local deliveries = {}
      for i, entry in ipairs(entries) do deliveries[i] = counts[entry[1]] end
      return {'read', entries, deliveries, last, 1, ''}
    end
  end
  if bound ~= '' then count = allowed(stream, group, bound, count) end
  local entries, looked_at, place = {}, 0, nil
  if count > 0 then
    local reply = redis.call('XREADGROUP', 'GROUP', group, CONSUMER, 'COUNT', count, 'STREAMS', stream, '>')
    if reply then
      entries, looked_at = reply[1][2], #reply[1][2]
      place = entries[looked_at][1]
      entries = sift(stream, group, entries, args[7] == '1', keys[3])
    end
  end
  return {'read', entries, {}, '>', looked_at, place or place_of(stream, group)}
end

-- KEYS: stream, owner. ARGS: group, member, lease (ms), ids. A member that is no longer active may still say
-- what took effect: that only saves deliveries. It does not become active by it.
local function ack(keys, args)
  if redis.call('GET', keys[2]) == args[2] then redis.call('PEXPIRE', keys[2], args[3]) end
  local done = 0
  for first = 4, #args, 1000 do
    done = done + redis.call('XACK', keys[1], args[1], unpack(args, first, math.min(first + 999, #args)))
  end
  return done
end

-- KEYS: stream, owner. ARGS: member.
local function leave(keys, args)
  if redis.call('GET', keys[2]) == args[1] then return redis.call('DEL', keys[2]) end
  return 0
end

-- Groups --------------------------------------------------------------------------------------------

local function first_pending(stream, group)
  local pending = redis.call('XPENDING', stream, group)
  if pending[1] == 0 then return '' end
  return pending[2]
end

-- KEYS: stream. ARGS: group, cursor. Creates the group there, or moves it forward; what is pending before
-- the cursor counts as done.
local function place(keys, args)
  local stream, name, cursor = keys[1], args[1], args[2]
  local group = group_of(stream, name)
  if not group then return redis.call('XGROUP', 'CREATE', stream, name, cursor, 'MKSTREAM') end
  while true do
    local pending = redis.call('XPENDING', stream, name, '-', cursor, 1000)
    if #pending == 0 then break end
    local ids = {}
    for i, item in ipairs(pending) do ids[i] = item[1] end
    redis.call('XACK', stream, name, unpack(ids))
  end
  if compare(group['last-delivered-id'], cursor) < 0 then redis.call('XGROUP', 'SETID', stream, name, cursor) end
  return redis.status_reply('OK')
end

-- KEYS: stream. For each group: name, last delivered id, pending, first pending id or '', lag or -1.
local function groups(keys, args)
  local stream, found = keys[1], {}
  if redis.call('EXISTS', stream) == 0 then return found end
  for i, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local group = fields_of(flat)
    local name = group['name']
    found[i] = {name, group['last-delivered-id'], group['pending'], first_pending(stream, name), group['lag'] or -1}
  end
  return found
end

-- Facts ---------------------------------------------------------------------------------------------

-- KEYS: stream. ARGS: an id, a count. Of the next `count` entries after it: bytes of the largest, how many there
-- were, and the id of the last.
local function largest(keys, args)
  local entries = redis.call('XRANGE', keys[1], '(' .. args[1], '+', 'COUNT', args[2])
  local most = 0
  for _, entry in ipairs(entries) do
    local size = 0
    for _, text in ipairs(entry[2]) do size = size + #text end
    if size > most then most = size end
  end
  return {most, #entries, #entries > 0 and entries[#entries][1] or ''}
end

redis.register_function('crossover_append', append)
redis.register_function('crossover_seal', seal)
redis.register_function('crossover_open_copier', open_copier)
redis.register_function('crossover_copy', copy)
redis.register_function('crossover_close_copies', close_copies)
redis.register_function('crossover_open_copies', open_copies)
redis.register_function('crossover_note_taken', note_taken)
redis.register_function('crossover_read', read)
redis.register_function('crossover_ack', ack)
redis.register_function('crossover_leave', leave)
redis.register_function('crossover_place', place)
redis.register_function{function_name = 'crossover_groups', callback = groups, flags = {'no-writes'}}
redis.register_function{function_name = 'crossover_largest', callback = largest, flags = {'no-writes'}}
