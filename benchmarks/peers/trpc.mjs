// tRPC over WebSocket, as its documentation shows it.

import { createServer } from 'node:http';
import { initTRPC } from '@trpc/server';
import { applyWSSHandler } from '@trpc/server/adapters/ws';
import { WebSocketServer } from 'ws';
import { z } from 'zod';
import { listen, listMessages, resumeMessage, sendMessage } from './chat.mjs';

const { procedure, router } = initTRPC.create();

const chat = router({
  messages: procedure
    .input(z.object({ conversationId: z.string(), last: z.number() }))
    .query(({ input }) => listMessages(input)),
  sendMessage: procedure
    .input(z.object({ id: z.string(), conversationId: z.string(), content: z.string() }))
    .subscription(({ input }) => sendMessage(input)),
  resumeMessage: procedure
    .input(z.object({ id: z.string(), content: z.string() }))
    .subscription(({ input, signal }) => resumeMessage(input, signal)),
});

const server = createServer((_, response) => response.writeHead(404).end());
applyWSSHandler({ wss: new WebSocketServer({ server, perMessageDeflate: false }), router: chat });
listen(server);
