-- The atomic steps of the Redis store: one script, a library of operations.
--
-- ARGV is the channel for news, the name of an operation, and its arguments. An answer begins with
-- 'ok', or with the word that says why not, and nothing was written then.
--
-- A message or conversation is called <length of its owner>:<owner>:<id>, so that no two share a
-- name, whatever owners and ids contain. A lease is called <id>:<epoch>. The keys, each behind
-- 'graphql_app:', times in milliseconds:
--
--   number                       string  the number of the last event of the whole store
--   epoch                        string  the epoch of the last lease
--   leases                       zset    lease → when it runs out; until its last reply has ended
--   lease:<lease>                hash    milliseconds, topic; not there once the lease was swept
--   streaming:<lease>            zset    reply → the renewals of its draft
--
--   message:<message>            hash    conversation, created, and
--                                          of a user's message: reply (the newest)
--                                          of a reply: reply_to, topic, status, code, error,
--                                                      lease (while it streams)
--   text:<message>               string  UTF-16-LE, not there if empty
--   cleared:<message>            string  empty: the id stays used
--   finished                     zset    reply → when it ended
--
--   conversations:<owner>        zset    conversation → the number of its last event
--   conversation:<conversation>  hash    owner, topic, created (the newest message's), updated,
--                                        began (before its first event), reset (0, or events up to
--                                        there are gone)
--   added:<conversation>         zset    message → the number of the event
--   ended:<conversation>         zset    reply → the number of the event
--
-- Numbers of events grow over the whole store, and are not below the time in microseconds: what was
-- forgotten, or lost, and begins anew goes on above its old numbers.
--
-- An offset in a text is twice as much in its bytes, so that text is appended, measured and read
-- from anywhere without a look at the rest. It stays so after the end: to turn a long text into
-- UTF-8 here would hold up everybody.

local NUMBER, EPOCH = 'graphql_app:number', 'graphql_app:epoch'
local LEASES, FINISHED = 'graphql_app:leases', 'graphql_app:finished'
local STAYS_USED_SECONDS = 25 * 60 * 60

local call = redis.call
local time = call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now_ms = math.floor(now_us / 1000)

-- Parts of the operations.

local function key(kind, name)
  return 'graphql_app:' .. kind .. ':' .. name
end

local function fields(kind, name, ...)
  return unpack(call('HMGET', key(kind, name), ...))
end

-- The names of the topics that changed, for those who watch them.
local news = {}

local function tell(topic)
  if topic then
    news[#news + 1] = topic
  end
end

local function next_number()
  local number = math.max(tonumber(call('GET', NUMBER) or 0) + 1, now_us)
  call('SET', NUMBER, number)
  return number
end

-- Logs an event: that a message was 'added', or that a reply has 'ended'.
local function log(kind, message, conversation, at)
  local number = next_number()
  local owner, topic, updated = fields('conversation', conversation, 'owner', 'topic', 'updated')
  call('ZADD', key(kind, conversation), number, message)
  call('ZADD', key('conversations', owner), number, conversation)
  call('HSET', key('conversation', conversation), 'updated', math.max(at, updated))
  tell(topic)
end

-- Begins a conversation, or keeps one that was about to be forgotten.
local function keep_conversation(conversation, owner, topic)
  local record = key('conversation', conversation)
  if call('EXISTS', record) == 1 then
    call('PERSIST', record)
  else
    call('HSET', record, 'owner', owner, 'topic', topic, 'created', 0, 'updated', 0,
      'began', next_number(), 'reset', 0)
  end
end

-- Adds a message, with further fields, at the end of a conversation.
local function insert(conversation, message, ...)
  local record = key('conversation', conversation)
  local created = math.max(now_ms, call('HGET', record, 'created') + 1)
  call('HSET', record, 'created', created)
  call('HSET', key('message', message), 'conversation', conversation, 'created', created, ...)
  log('added', message, conversation, created)
end

-- Whether anything may still be written under a lease.
local function is_alive(lease)
  return call('EXISTS', key('lease', lease)) == 1
end

-- Takes a reply from its lease.
local function release(lease, reply)
  call('ZREM', key('streaming', lease), reply)
end

local function tell_holder(lease)
  tell(call('HGET', key('lease', lease), 'topic'))
end

-- Ends a reply that streams. All ends come here.
local function end_reply(reply, status, code, error)
  local conversation, lease, topic =
    fields('message', reply, 'conversation', 'lease', 'topic')
  call('HSET', key('message', reply), 'status', status)
  if code ~= '' then
    call('HSET', key('message', reply), 'code', code, 'error', error)
  end
  call('HDEL', key('message', reply), 'lease')
  call('ZADD', FINISHED, now_ms, reply)
  release(lease, reply)
  log('ended', reply, conversation, now_ms)
  tell(topic)
  -- APPEND had left room for as much again.
  local text = call('GET', key('text', reply))
  if text then
    call('SET', key('text', reply), text)
  end
end

-- Removes a message; its id stays used.
local function remove(message)
  local conversation, lease, topic =
    fields('message', message, 'conversation', 'lease', 'topic')
  call('DEL', key('message', message), key('text', message))
  call('SET', key('cleared', message), '', 'EX', STAYS_USED_SECONDS)
  call('ZREM', key('added', conversation), message)
  call('ZREM', key('ended', conversation), message)
  call('ZREM', FINISHED, message)
  if lease then
    release(lease, message)
    tell_holder(lease)
  end
  tell(topic)
end

-- Makes the next event of a conversation a reset; one without messages is forgotten in a day.
local function start_over(conversation)
  local record = key('conversation', conversation)
  local owner, topic = fields('conversation', conversation, 'owner', 'topic')
  call('HSET', record, 'reset', next_number())
  if call('EXISTS', key('added', conversation)) == 0 then
    call('ZREM', key('conversations', owner), conversation)
    call('EXPIRE', record, STAYS_USED_SECONDS)
  end
  tell(topic)
end

-- Why there is no such reply.
local function no_reply(name)
  return call('EXISTS', key('cleared', name)) == 1 and 'cleared' or 'no reply'
end

-- Adds text where it says it stands; the same text again does nothing. Returns whether it fits.
local function write(reply, at_offset, text)
  local name, begin = key('text', reply), 2 * at_offset
  local size = call('STRLEN', name)
  if text == '' or begin > size then
    return begin <= size
  end
  if begin == size then
    call('APPEND', name, text)
    return true
  end
  return call('GETRANGE', name, begin, begin + #text - 1) == text
end

-- A reply's text from an offset on: where it begins, where it ends, and the text.
local function tail(reply, offset)
  local name = key('text', reply)
  local stop = call('STRLEN', name) / 2
  local begin = math.min(offset, stop)
  local text = call('GETRANGE', name, 2 * begin, -1)
  local high_byte = text:byte(2)
  if high_byte and 0xDC <= high_byte and high_byte <= 0xDF then
    -- The second half of a surrogate pair.
    begin = begin - 1
    text = call('GETRANGE', name, 2 * begin, -1)
  end
  return begin, stop, text
end

local function record(message)
  return {message,
    fields('message', message, 'conversation', 'created', 'reply_to', 'status', 'code', 'error')}
end

local function whole_text(message)
  return call('GET', key('text', message)) or ''
end

-- Messages as they are now: their records, and their texts.
local function shown(messages)
  local records, texts = {}, {}
  for index, message in ipairs(messages) do
    records[index], texts[index] = record(message), whole_text(message)
  end
  return cjson.encode(records), texts
end

-- A conversation's messages before a number, at most the newest `last`, oldest first.
local function newest(conversation, before, last)
  local found = call('ZRANGE', key('added', conversation), before, '-inf',
    'BYSCORE', 'REV', 'LIMIT', 0, last)
  local messages = {}
  for index = #found, 1, -1 do
    messages[#messages + 1] = found[index]
  end
  return messages
end

-- The operations.

local operations = {}

function operations.register(id, topic, milliseconds)
  local epoch = call('INCR', EPOCH)
  local lease = id .. ':' .. epoch
  call('HSET', key('lease', lease), 'milliseconds', milliseconds, 'topic', topic)
  call('ZADD', LEASES, now_ms + milliseconds, lease)
  return {'ok', epoch}
end

-- Returns what streams under the lease, each reply followed by the renewals of its draft.
function operations.renew(lease)
  local milliseconds = call('HGET', key('lease', lease), 'milliseconds')
  if not milliseconds then
    return {'fenced'}
  end
  call('ZADD', LEASES, now_ms + milliseconds, lease)
  return {'ok', cjson.encode(call('ZRANGE', key('streaming', lease), 0, -1, 'WITHSCORES'))}
end

-- Ends those of the replies that stream under the lease.
function operations.lose(lease, code, error, ...)
  for _, reply in ipairs({...}) do
    if call('HGET', key('message', reply), 'lease') == lease then
      end_reply(reply, 'ERROR', code, error)
    end
  end
  return {'ok'}
end

-- Does at most so much, and returns how many replies were lost and whether there is more to do.
function operations.sweep(keep, code, error, most)
  local lost, left = 0, tonumber(most)
  while left > 0 do
    local lease = call('ZRANGE', LEASES, '-inf', now_ms, 'BYSCORE', 'LIMIT', 0, 1)[1]
    if not lease then
      break
    end
    -- Its replies may take several calls to end, but from now on nobody writes under it.
    call('DEL', key('lease', lease))
    local replies = call('ZRANGE', key('streaming', lease), 0, left - 1)
    for _, reply in ipairs(replies) do
      end_reply(reply, 'ERROR', code, error)
    end
    if call('EXISTS', key('streaming', lease)) == 0 then
      call('ZREM', LEASES, lease)
    end
    lost, left = lost + #replies, left - #replies - 1
  end
  if keep ~= '' and left > 0 then
    local expired = call('ZRANGE', FINISHED, '-inf', now_ms - keep, 'BYSCORE', 'LIMIT', 0, left)
    for _, reply in ipairs(expired) do
      local conversation, reply_to = fields('message', reply, 'conversation', 'reply_to')
      remove(reply_to)
      remove(reply)
      start_over(conversation)
    end
    left = left - #expired
  end
  return {'ok', lost, left > 0 and 0 or 1}
end

function operations.add(lease, owner, conversation, topic, message, content, reply, reply_topic,
    renewals)
  if not is_alive(lease) then
    return {'fenced'}
  end
  if call('EXISTS', key('cleared', message)) == 1 then
    return {'cleared'}
  end
  local its_conversation, its_reply = fields('message', message, 'conversation', 'reply')
  if its_conversation then
    if not its_reply then
      return {'conflict', 'a reply'}
    elseif its_conversation ~= conversation then
      return {'conflict', 'a message of another conversation'}
    elseif whole_text(message) ~= content then
      return {'conflict', 'a message with other content'}
    end
    return {'ok', its_reply}
  end
  -- This comes first: Redis refuses a script for want of memory at its first write or not at all,
  -- and only if that write needs memory.
  call('SET', key('text', message), content)
  keep_conversation(conversation, owner, topic)
  insert(conversation, message, 'reply', reply)
  insert(conversation, reply, 'reply_to', message, 'topic', reply_topic,
    'status', 'STREAMING', 'lease', lease)
  call('ZADD', key('streaming', lease), renewals, reply)
  return {'ok', reply}
end

-- Takes replies, each with its lease and offset, and a text for each; returns their outcomes.
function operations.append(appends, ...)
  local texts, outcomes = {...}, {}
  for index, append in ipairs(cjson.decode(appends)) do
    local reply, lease, at_offset = unpack(append)
    local its_lease, topic = fields('message', reply, 'lease', 'topic')
    if its_lease ~= lease or not is_alive(lease) then
      outcomes[index] = {'fenced'}
    elseif not write(reply, at_offset, texts[index]) then
      outcomes[index] = {'unfit', at_offset}
    else
      outcomes[index] = {'ok'}
      tell(topic)
    end
  end
  return {'ok', cjson.encode(outcomes)}
end

-- A producer gives its lease; an empty offset is the end.
function operations.finish(reply, status, code, error, lease, at_offset, text)
  local its_status, its_lease = fields('message', reply, 'status', 'lease')
  if not its_status then
    return {no_reply(reply)}
  end
  if its_status == 'STREAMING' then
    if lease ~= '' then
      if its_lease ~= lease or not is_alive(lease) then
        return {'fenced'}
      end
      if at_offset == '' then
        at_offset = call('STRLEN', key('text', reply)) / 2
      end
      if not write(reply, at_offset, text) then
        return {'unfit', at_offset}
      end
    end
    end_reply(reply, status, code, error)
    if lease == '' then
      tell_holder(its_lease)
    end
  end
  return {'ok', shown({reply})}
end

-- Takes replies, each with an offset; returns their outcomes and texts, but of the first ones only
-- once the texts have more than `limit` bytes.
function operations.read(reads, limit)
  local outcomes, texts, size = {}, {}, 0
  for index, read in ipairs(cjson.decode(reads)) do
    local reply, offset = unpack(read)
    local status, code, error = fields('message', reply, 'status', 'code', 'error')
    if status then
      local begin, stop, text = tail(reply, offset)
      outcomes[index], texts[index] = {'ok', begin, stop, status, code, error}, text
      size = size + #text
    else
      outcomes[index], texts[index] = {no_reply(reply)}, ''
    end
    if size > tonumber(limit) then
      break
    end
  end
  return {'ok', cjson.encode(outcomes), texts}
end

function operations.message(message)
  if call('EXISTS', key('message', message)) == 0 then
    return {'no message'}
  end
  return {'ok', shown({message})}
end

function operations.newest_reply(message)
  local conversation, reply = fields('message', message, 'conversation', 'reply')
  if not conversation then
    return {'no message'}
  end
  return {'ok', reply or message}
end

-- An empty `before` is the end.
function operations.messages(conversation, before, last)
  local number = '+inf'
  if before ~= '' then
    local found = call('ZSCORE', key('added', conversation), before)
    if not found then
      return {'no message'}
    end
    number = '(' .. found
  end
  return {'ok', shown(newest(conversation, number, last))}
end

function operations.conversations(owner, first)
  local found = call('ZRANGE', key('conversations', owner), 0, first - 1, 'REV')
  for index, conversation in ipairs(found) do
    local oldest = call('ZRANGE', key('added', conversation), 0, 0)[1]
    found[index] = {conversation, call('HGET', key('message', oldest), 'created'),
      call('HGET', key('conversation', conversation), 'updated')}
  end
  return {'ok', cjson.encode(found)}
end

function operations.history(reply)
  local status, conversation = fields('message', reply, 'status', 'conversation')
  if not status then
    return {no_reply(reply)}
  elseif status ~= 'STREAMING' then
    return {'fenced'}
  end
  local number = call('ZSCORE', key('added', conversation), reply)
  local messages = {}
  local before = call('ZRANGE', key('added', conversation), '-inf', '(' .. number, 'BYSCORE')
  for _, message in ipairs(before) do
    if call('STRLEN', key('text', message)) > 0 then
      messages[#messages + 1] = message
    end
  end
  return {'ok', shown(messages)}
end

function operations.clear(conversation)
  local messages = call('ZRANGE', key('added', conversation), 0, -1)
  for _, message in ipairs(messages) do
    remove(message)
  end
  if #messages > 0 then
    start_over(conversation)
  end
  return {'ok', #messages}
end

-- Returns whether it is a reset, the new cursor, whether there are more, and messages.
--
-- The cursor of a conversation without a record is 0: whatever will be there is new to it. Any
-- other cursor must be one that this conversation, as it is now, can have given.
function operations.events(conversation, cursor, last, most)
  local began, reset = fields('conversation', conversation, 'began', 'reset')
  local now = began and tonumber(call('GET', NUMBER)) or 0
  local from = tonumber(cursor)
  if not from or from > now or from < tonumber(reset or 0)
    or from > 0 and from < tonumber(began) then
    return {'ok', 1, now, 0, shown(newest(conversation, '+inf', last))}
  end
  most = tonumber(most)
  local events = {}
  for _, kind in ipairs({'added', 'ended'}) do
    local found = call('ZRANGE', key(kind, conversation), '(' .. cursor, '+inf',
      'BYSCORE', 'LIMIT', 0, most + 1, 'WITHSCORES')
    for index = 1, #found, 2 do
      events[#events + 1] = {kind = kind, message = found[index], number = tonumber(found[index + 1])}
    end
  end
  table.sort(events, function(one, other) return one.number < other.number end)
  local records, texts = {}, {}
  for index = 1, math.min(#events, most) do
    local event = events[index]
    local found = record(event.message)
    local is_reply = found[4]
    if event.kind == 'added' and is_reply then
      -- As it was then.
      records[index], texts[index] = {found[1], found[2], found[3], found[4], 'STREAMING', false, false}, ''
    else
      records[index], texts[index] = found, whole_text(event.message)
    end
    from = event.number
  end
  return {'ok', 0, from, #events > most and 1 or 0, cjson.encode(records), texts}
end

local answer = operations[ARGV[2]](unpack(ARGV, 3))
if #news > 0 then
  call('PUBLISH', ARGV[1], table.concat(news))
end
return answer
