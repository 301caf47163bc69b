// What the Node peers have in common: messages in memory, and replies that are produced.

import { randomUUID } from 'node:crypto';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';

const LOOK_AGAIN_MS = 50; // How often somebody who resumed looks for more.

const messages = new Map();
const conversations = new Map();

// `words per_second burst`, as benchmarks/answers.py reads it.
async function* stampedWords(order) {
  const [words, perSecond, burst = 1] = order.split(' ').map(Number);
  const begin = Date.now();
  for (let number = 0; number < words; number++) {
    let due = Date.now();
    if (perSecond > 0) {
      const wait = begin + ((number + 1) * 1000) / perSecond - due;
      due = Math.floor(due + wait);
      if (wait > 0) await sleep(wait);
    } else if (number % burst === 0) {
      await setImmediate();
    }
    yield `${number}:${due} `;
  }
}

async function write(reply, words) {
  for await (const word of words) reply.content += word;
  reply.status = 'DONE';
}

function add(message, conversationId) {
  messages.set(message.id, message);
  const conversation = conversations.get(conversationId) ?? [];
  conversations.set(conversationId, conversation);
  conversation.push(message);
  return message;
}

function chunk(reply, offset, text, status) {
  return { messageId: reply.id, offset, text, status, error: null };
}

// The reply is written in the background, from one branch; the sender reads the other.
export async function* sendMessage({ id, conversationId, content }) {
  add({ id, role: 'USER', content, status: 'DONE' }, conversationId);
  const reply = add(
    { id: randomUUID(), role: 'ASSISTANT', content: '', status: 'STREAMING' },
    conversationId,
  );
  const [stored, shown] = ReadableStream.from(stampedWords(content)).tee();
  void write(reply, stored);
  yield chunk(reply, 0, '', 'STREAMING');
  let offset = 0;
  for await (const word of shown) {
    yield chunk(reply, offset, word, 'STREAMING');
    offset += word.length;
  }
  yield chunk(reply, offset, '', 'DONE');
}

export async function* resumeMessage({ id, content }, signal) {
  const reply = messages.get(id);
  if (!reply) throw new Error(`There is no message ${id}.`);
  let offset = reply.content.startsWith(content) ? content.length : 0;
  let first = true;
  while (!signal?.aborted) {
    const { status, content: text } = reply;
    if (first || text.length > offset || status === 'DONE') {
      yield chunk(reply, offset, text.slice(offset), status);
      [offset, first] = [text.length, false];
    }
    if (status === 'DONE') return;
    await sleep(LOOK_AGAIN_MS);
  }
}

export function listMessages({ conversationId, last }) {
  return (conversations.get(conversationId) ?? []).slice(-last);
}

export function listen(server) {
  server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
}
