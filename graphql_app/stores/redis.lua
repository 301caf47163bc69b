-- The atomic steps of the Redis store: one script, a library of operations.
--
-- ARGV is the channel for news, the name of an operation, and its arguments. An answer begins with
-- 'ok', or with a word that says why nothing was done, which may be followed by details.
--
-- Names. An owner is called <length in bytes>:<owner>: and a message or a conversation by its owner
-- and its id, so that no two share a name, whatever is in them. A lease is called <id>:<epoch>.
--
-- Keys, each behind 'graphql_app:'. What belongs to one owner is kept by its id, the rest by its
-- name. Times are in milliseconds.
--
--   number                       string  the number of the last event of the whole store
--   epoch                        string  the epoch of the last lease
--   leases                       zset    lease → when it runs out; until its last reply has ended
--   lease:<lease>                hash    milliseconds, topic; not there once the lease was swept
--   streaming:<lease>            zset    reply → the renewals of its draft
--   finished                     zset    reply → when it ended
--
--   message:<message>            hash    conversation, created, and
--                                          of a user's message: reply (the newest)
--                                          of a reply: reply_to, topic, status, code, error,
--                                                      usage (JSON, once it is known),
--                                                      lease (while it streams),
--                                                      token (if it was asked for later)
--   replaced:<message>           list    the replies to it that others took the place of, oldest
--                                          first; not there if there are none
--   text:<message>               string  UTF-16-LE; not there if empty
--   cleared:<message>            string  empty: the id stays used
--
--   conversations:<owner>        zset    conversation → the number of its last event
--   conversation:<conversation>  hash    topic, created (the newest message's), updated,
--                                        began (a number below those of all its events),
--                                        reset (0, or events up to this number are gone)
--   added:<conversation>         zset    message → the number of that event, which is its place;
--                                          of the replies to a message only the newest
--   ended:<conversation>         zset    reply → the number of that event
--
-- Numbers of events grow over the whole store, and are not below the time in microseconds, so that
-- what was forgotten or lost and begins anew goes on above its old numbers.
--
-- A volatile server that is full may drop any of these. What is left of a conversation then may be
-- odd, but does not keep others from being swept, listed and added to.
--
-- A byte of a text is at twice its offset. So text is appended, measured and read from anywhere
-- without a look at the rest. It stays like that after the end: turning a long text into UTF-8 here
-- would hold up everybody.

local NUMBER, EPOCH = 'graphql_app:number', 'graphql_app:epoch'
local LEASES, FINISHED = 'graphql_app:leases', 'graphql_app:finished'
local STAYS_USED_SECONDS = 25 * 60 * 60

local call = redis.call
local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now_ms = math.floor(now_us / 1000)

-- Names and keys.

local function owner_of(name)
  local length = name:match('^%d+')
  return name:sub(1, #length + 1 + length + 1)
end

local function id_of(name)
  return name:sub(#owner_of(name) + 1)
end

-- The name of something else of the same owner.
local function beside(name, id)
  return owner_of(name) .. id
end

local function key(kind, name)
  return 'graphql_app:' .. kind .. ':' .. name
end

local function fields(kind, name, ...)
  return unpack(call('HMGET', key(kind, name), ...))
end

-- Conversations and their events.

-- The topics that changed.
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

-- Makes a conversation the most recently used one.
local function use(conversation, number, at)
  local topic, updated = fields('conversation', conversation, 'topic', 'updated')
  call('ZADD', key('conversations', owner_of(conversation)), number, id_of(conversation))
  call('HSET', key('conversation', conversation), 'updated', math.max(at, updated or 0))
  tell(topic)
end

-- Logs an event: that a message was 'added', or that a reply 'ended'.
local function log(kind, message, conversation, at)
  local number = next_number()
  call('ZADD', key(kind, conversation), number, id_of(message))
  use(conversation, number, at)
end

-- Begins a conversation, or keeps one that was about to be forgotten.
local function keep(conversation, topic)
  local record = key('conversation', conversation)
  if call('HEXISTS', record, 'began') == 1 then
    call('PERSIST', record)
  else
    call('HSET', record, 'topic', topic, 'created', 0, 'updated', 0,
      'began', next_number(), 'reset', 0)
  end
end

-- Adds a message, with further fields, at the end of a conversation.
local function insert(conversation, message, ...)
  local record = key('conversation', conversation)
  local created = math.max(now_ms, call('HGET', record, 'created') + 1)
  call('HSET', record, 'created', created)
  call('HSET', key('message', message),
    'conversation', id_of(conversation), 'created', created, ...)
  log('added', message, conversation, created)
end

-- Makes the next event of a conversation a reset, and returns its number; a conversation without
-- messages is forgotten in a day.
local function start_over(conversation)
  local record, number = key('conversation', conversation), next_number()
  call('HSET', record, 'reset', number)
  if call('EXISTS', key('added', conversation)) == 0 then
    call('ZREM', key('conversations', owner_of(conversation)), id_of(conversation))
    call('EXPIRE', record, STAYS_USED_SECONDS)
  end
  tell(call('HGET', record, 'topic'))
  return number
end

-- Puts a reply into the place of the newest one to a user's message.
local function replace(conversation, message, before, reply)
  local added = key('added', conversation)
  call('ZADD', added, call('ZSCORE', added, before) or next_number(), reply)
  call('ZREM', added, before)
  call('RPUSH', key('replaced', message), before)
  call('HSET', key('message', message), 'reply', reply)
  use(conversation, start_over(conversation), now_ms)
end

-- Where the events of a conversation are now, and whether a cursor asks for a reset.
--
-- A conversation without a record gives 0: to that cursor, all that may come is new. Any other
-- cursor counts only if the conversation, as it is now, can have given it.
local function place(conversation, cursor)
  local began, reset = fields('conversation', conversation, 'began', 'reset')
  local now, seen = began and tonumber(call('GET', NUMBER)) or 0, tonumber(cursor)
  return now, not seen or seen > now or seen < tonumber(reset or 0)
    or (seen > 0 and seen < tonumber(began))
end

local function has_events(kind, conversation, cursor)
  return call('ZCOUNT', key(kind, conversation), '(' .. cursor, '+inf') > 0
end

-- Replies and their leases.

-- Whether anything may still be written under a lease.
local function is_alive(lease)
  return call('EXISTS', key('lease', lease)) == 1
end

local function tell_holder(lease)
  tell(call('HGET', key('lease', lease), 'topic'))
end

local function is_cleared(name)
  return call('EXISTS', key('cleared', name)) == 1
end

-- Why there is no such reply.
local function no_reply(name)
  return is_cleared(name) and 'cleared' or 'no reply'
end

-- Ends a reply that streams. Every end is this one.
local function end_reply(reply, status, code, error)
  local record = key('message', reply)
  local conversation, lease, topic = fields('message', reply, 'conversation', 'lease', 'topic')
  if not conversation then
    return
  end
  call('HSET', record, 'status', status)
  if code ~= '' then
    call('HSET', record, 'code', code, 'error', error)
  end
  call('HDEL', record, 'lease')
  call('ZREM', key('streaming', lease), reply)
  call('ZADD', FINISHED, now_ms, reply)
  local text = call('GET', key('text', reply))
  if text then
    -- Gives back the room that APPEND has left for more.
    call('SET', key('text', reply), text)
  end
  log('ended', reply, beside(reply, conversation), now_ms)
  tell(topic)
end

-- Removes a message; its id stays used.
local function remove(message)
  local conversation, lease, topic = fields('message', message, 'conversation', 'lease', 'topic')
  if not conversation then
    return
  end
  call('DEL', key('message', message), key('text', message))
  call('SET', key('cleared', message), '', 'EX', STAYS_USED_SECONDS)
  for _, kind in ipairs({'added', 'ended'}) do
    call('ZREM', key(kind, beside(message, conversation)), id_of(message))
  end
  call('ZREM', FINISHED, message)
  if lease then
    call('ZREM', key('streaming', lease), message)
    tell_holder(lease)
  end
  tell(topic)
end

-- Removes a message, and the replies to it that others took the place of; returns how many.
local function remove_all(message)
  local replaced = call('LRANGE', key('replaced', message), 0, -1)
  for _, id in ipairs(replaced) do
    remove(beside(message, id))
  end
  call('DEL', key('replaced', message))
  remove(message)
  return #replaced + 1
end

-- Removes a reply whose time is over: alone, if another one took its place.
local function expire(reply, reply_to, conversation)
  local message = beside(reply, reply_to)
  local newest = call('HGET', key('message', message), 'reply')
  if newest and newest ~= id_of(reply) then
    call('LREM', key('replaced', message), 1, id_of(reply))
    remove(reply)
  else
    remove_all(message)
    remove(reply)
    start_over(conversation)
  end
end

-- Texts.

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
    -- The second half of a surrogate pair: its code point begins before it.
    begin = begin - 1
    text = call('GETRANGE', name, 2 * begin, -1)
  end
  return begin, stop, text
end

local function whole_text(message)
  return call('GET', key('text', message)) or ''
end

-- Replies to one message, and their place.

-- The newest `last` replies to a user's message, oldest first.
local function replies_to(message, last)
  local newest = call('HGET', key('message', message), 'reply')
  if not newest then
    return {}
  end
  local ids = last > 1 and call('LRANGE', key('replaced', message), 1 - last, -1) or {}
  ids[#ids + 1] = newest
  return ids
end

-- Where a message stands in a conversation. All replies to a message have the newest one's place.
local function standing(conversation, message)
  local added = key('added', conversation)
  local reply_to = call('HGET', key('message', message), 'reply_to')
  local newest = reply_to and replies_to(beside(message, reply_to), 1)[1]
  return call('ZSCORE', added, newest or id_of(message))
end

-- Messages, as they are shown.

local function is_there(message)
  return call('EXISTS', key('message', message)) == 1
end

local function record(message)
  return {id_of(message),
    fields('message', message,
      'conversation', 'created', 'reply_to', 'status', 'code', 'error', 'usage')}
end

-- A reply as it was when it was added.
local function record_when_added(message)
  local id, conversation, created, reply_to = unpack(record(message))
  return {id, conversation, created, reply_to, 'STREAMING', false, false, false}
end

-- Records and texts of those messages, of one owner, that have these ids.
local function shown(owner, ids)
  local records, texts = {}, {}
  for _, id in ipairs(ids) do
    if is_there(owner .. id) then
      records[#records + 1], texts[#texts + 1] = record(owner .. id), whole_text(owner .. id)
    end
  end
  return cjson.encode(records), texts
end

-- The newest `last` messages of a conversation before a number, oldest first.
local function newest(conversation, before, last)
  local found = call('ZRANGE', key('added', conversation), before, '-inf',
    'BYSCORE', 'REV', 'LIMIT', 0, last)
  local ids = {}
  for index = #found, 1, -1 do
    ids[#ids + 1] = found[index]
  end
  return shown(owner_of(conversation), ids)
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

-- Returns the replies that stream under the lease, each followed by the renewals of its draft.
function operations.renew(lease)
  local milliseconds = call('HGET', key('lease', lease), 'milliseconds')
  if not milliseconds then
    return {'fenced'}
  end
  call('ZADD', LEASES, now_ms + milliseconds, lease)
  return {'ok', cjson.encode(call('ZRANGE', key('streaming', lease), 0, -1, 'WITHSCORES'))}
end

-- Ends those replies that stream under the lease.
function operations.lose(lease, code, error, ...)
  for _, reply in ipairs({...}) do
    if call('HGET', key('message', reply), 'lease') == lease then
      end_reply(reply, 'ERROR', code, error)
    end
  end
  return {'ok'}
end

-- Does at most so much; returns how many replies were lost, and whether there is more to do.
function operations.sweep(code, error, kept_for, most)
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
      call('ZREM', key('streaming', lease), reply)
    end
    if call('EXISTS', key('streaming', lease)) == 0 then
      call('ZREM', LEASES, lease)
    end
    lost, left = lost + #replies, left - #replies - 1
  end
  if kept_for ~= '' and left > 0 then
    local expired = call('ZRANGE', FINISHED, '-inf', now_ms - kept_for, 'BYSCORE', 'LIMIT', 0, left)
    for _, reply in ipairs(expired) do
      local conversation, reply_to = fields('message', reply, 'conversation', 'reply_to')
      if conversation then
        expire(reply, reply_to, beside(reply, conversation))
      end
      call('ZREM', FINISHED, reply)
    end
    left = left - #expired
  end
  return {'ok', lost, left > 0 and 0 or 1}
end

-- Returns the id of the newest reply to the message.
function operations.add(lease, conversation, topic, message, content, reply, reply_topic, renewals)
  if not is_alive(lease) then
    return {'fenced'}
  end
  if is_cleared(message) then
    return {'cleared'}
  end
  local its_conversation, its_reply = fields('message', message, 'conversation', 'reply')
  if its_conversation then
    if not its_reply then
      return {'conflict', 'a reply'}
    elseif its_conversation ~= id_of(conversation) then
      return {'conflict', 'a message of another conversation'}
    elseif whole_text(message) ~= content then
      return {'conflict', 'a message with other content'}
    end
    return {'ok', its_reply}
  end
  -- The first write is one that needs memory: when that is full, Redis refuses a script here, or
  -- not at all.
  call('SET', key('text', message), content)
  keep(conversation, topic)
  insert(conversation, message, 'reply', id_of(reply))
  insert(conversation, reply, 'reply_to', id_of(message), 'topic', reply_topic,
    'status', 'STREAMING', 'lease', lease)
  call('ZADD', key('streaming', lease), renewals, reply)
  return {'ok', id_of(reply)}
end

-- Adds another reply to a user's message, which one of its replies may stand for. Returns that
-- message's id and, of what now has the reply's id, reply_to and token.
function operations.add_reply(lease, message, reply, reply_topic, renewals, token)
  if not is_alive(lease) then
    return {'fenced'}
  end
  local reply_to = call('HGET', key('message', message), 'reply_to')
  local question = reply_to and beside(message, reply_to) or message
  local conversation, before = fields('message', question, 'conversation', 'reply')
  if not before then
    return {is_cleared(message) and 'cleared' or 'no message'}
  elseif is_cleared(reply) then
    return {'cleared', id_of(reply)}
  end
  if not is_there(reply) then
    local status, created = fields('message', beside(question, before), 'status', 'created')
    if status == 'STREAMING' then
      return {'streaming', before}
    end
    call('HSET', key('message', reply), 'conversation', conversation,
      'created', created or now_ms, 'reply_to', id_of(question), 'topic', reply_topic,
      'status', 'STREAMING', 'lease', lease, 'token', token)
    call('ZADD', key('streaming', lease), renewals, reply)
    replace(beside(question, conversation), question, before, id_of(reply))
  end
  return {'ok', id_of(question), fields('message', reply, 'reply_to', 'token')}
end

-- Takes replies, each with its lease and an offset, and a text for each; returns outcomes.
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

-- A producer gives its lease, and text for an offset; an empty offset is the end. A usage that is
-- not empty is kept, unless there is one.
function operations.finish(reply, status, code, error, lease, at_offset, text, usage)
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
  if usage ~= '' then
    call('HSETNX', key('message', reply), 'usage', usage)
  end
  return {'ok', shown(owner_of(reply), {id_of(reply)})}
end

-- Takes replies, each with an offset; returns outcomes and texts, but of the first ones only once
-- the texts have more than `limit` bytes.
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
  if not is_there(message) then
    return {'no message'}
  end
  return {'ok', shown(owner_of(message), {id_of(message)})}
end

function operations.newest_reply(message)
  local conversation, reply = fields('message', message, 'conversation', 'reply')
  if not conversation then
    return {'no message'}
  end
  return {'ok', reply or id_of(message)}
end

-- An empty `before` is the end.
function operations.messages(conversation, before, last)
  if before == '' then
    return {'ok', newest(conversation, '+inf', last)}
  end
  local number = standing(conversation, beside(conversation, before))
  if not number then
    return {'no message'}
  end
  return {'ok', newest(conversation, '(' .. number, last)}
end

-- Takes users' messages, each with how many of the newest replies to it are wanted; returns records
-- and texts for each, but of the first ones only once the texts have more than `limit` bytes.
function operations.replies(looks, limit)
  local found, size = {}, 0
  for index, look in ipairs(cjson.decode(looks)) do
    local message, last = unpack(look)
    local records, texts = shown(owner_of(message), replies_to(message, last))
    found[index] = {records, texts}
    for _, text in ipairs(texts) do
      size = size + #text
    end
    if size > tonumber(limit) then
      break
    end
  end
  return {'ok', found}
end

-- Returns records, and how the oldest message of each conversation begins, in so many code units.
function operations.conversations(owner, first, units)
  local found, beginnings = {}, {}
  for index, id in ipairs(call('ZRANGE', key('conversations', owner), 0, first - 1, 'REV')) do
    local oldest = call('ZRANGE', key('added', owner .. id), 0, 0)[1] or ''
    found[index] = {id, call('HGET', key('message', owner .. oldest), 'created'),
      call('HGET', key('conversation', owner .. id), 'updated')}
    beginnings[index] = call('GETRANGE', key('text', owner .. oldest), 0, 2 * units - 1)
  end
  return {'ok', cjson.encode(found), beginnings}
end

function operations.history(reply)
  local status, conversation = fields('message', reply, 'status', 'conversation')
  if not status then
    return {no_reply(reply)}
  elseif status ~= 'STREAMING' then
    return {'fenced'}
  end
  local added, ids = key('added', beside(reply, conversation)), {}
  local number = call('ZSCORE', added, id_of(reply))
  for _, id in ipairs(call('ZRANGE', added, '-inf', '(' .. number, 'BYSCORE')) do
    if call('STRLEN', key('text', beside(reply, id))) > 0 then
      ids[#ids + 1] = id
    end
  end
  return {'ok', shown(owner_of(reply), ids)}
end

function operations.clear(conversation)
  local count = 0
  for _, id in ipairs(call('ZRANGE', key('added', conversation), 0, -1)) do
    count = count + remove_all(beside(conversation, id))
  end
  if count > 0 then
    start_over(conversation)
  end
  return {'ok', count}
end

-- Takes conversations, each with a cursor; returns for each whether there is an event.
function operations.changed(looks)
  local outcomes = {}
  for index, look in ipairs(cjson.decode(looks)) do
    local conversation, cursor = unpack(look)
    local _, is_reset = place(conversation, cursor)
    local is_changed = is_reset or has_events('added', conversation, cursor)
      or has_events('ended', conversation, cursor)
    outcomes[index] = is_changed and 1 or 0
  end
  return {'ok', outcomes}
end

-- Returns whether it is a reset, the new cursor, whether there are more events, and messages.
function operations.events(conversation, cursor, last, most)
  local now, is_reset = place(conversation, cursor)
  if is_reset then
    return {'ok', 1, now, 0, newest(conversation, '+inf', last)}
  end
  local seen, events = tonumber(cursor), {}
  for _, kind in ipairs({'added', 'ended'}) do
    local found = call('ZRANGE', key(kind, conversation), '(' .. cursor, '+inf',
      'BYSCORE', 'LIMIT', 0, most + 1, 'WITHSCORES')
    for index = 1, #found, 2 do
      local message = beside(conversation, found[index])
      events[#events + 1] = {kind = kind, message = message, number = tonumber(found[index + 1])}
    end
  end
  table.sort(events, function(one, other) return one.number < other.number end)
  local records, texts = {}, {}
  for index = 1, math.min(#events, most) do
    local event = events[index]
    local is_reply = call('HEXISTS', key('message', event.message), 'reply_to') == 1
    if is_reply and event.kind == 'added' then
      records[#records + 1], texts[#texts + 1] = record_when_added(event.message), ''
    elseif is_there(event.message) then
      records[#records + 1], texts[#texts + 1] = record(event.message), whole_text(event.message)
    end
    seen = event.number
  end
  return {'ok', 0, seen, #events > tonumber(most) and 1 or 0, cjson.encode(records), texts}
end

local answer = operations[ARGV[2]](unpack(ARGV, 3))
if #news > 0 then
  call('PUBLISH', ARGV[1], table.concat(news))
end
return answer
