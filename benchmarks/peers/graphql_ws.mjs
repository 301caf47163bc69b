// graphql-ws with graphql-js, as its documentation shows it.

import { createServer } from 'node:http';
import { buildSchema } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'ws';
import { listen, listMessages, resumeMessage, sendMessage } from './chat.mjs';

const schema = buildSchema(`
  type Message { id: ID! role: String! content: String! status: String! }
  type MessageError { code: String! message: String! }
  type StreamChunk { messageId: ID! offset: Int! text: String! status: String! error: MessageError }
  input MessageInput { id: ID! content: String! conversationId: ID! }
  input ResumeInput { id: ID! content: String! }
  type Query { messages(conversationId: ID!, last: Int!): [Message!]! }
  type Subscription {
    sendMessage(message: MessageInput!): StreamChunk!
    resumeMessage(message: ResumeInput!): StreamChunk!
  }
`);

async function* named(name, chunks) {
  for await (const chunk of chunks) yield { [name]: chunk };
}

const roots = {
  query: { messages: listMessages },
  subscription: {
    sendMessage: ({ message }) => named('sendMessage', sendMessage(message)),
    resumeMessage: ({ message }) => named('resumeMessage', resumeMessage(message)),
  },
};

const server = createServer((_, response) => response.writeHead(404).end());
useServer(
  { schema, roots },
  new WebSocketServer({ server, path: '/graphql', perMessageDeflate: false }),
);
listen(server);
