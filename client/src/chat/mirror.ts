import { client } from "../api/client";
import { MessageFieldsFragmentDoc } from "../api/generated";
import type { MessageModel } from "./model";

/** Keeps the cache's messages equal to a thread's; each row watches its own there. */
export class Mirror {
  #written = new Map<string, MessageModel>();

  show(messages: readonly MessageModel[]): void {
    const { cache } = client;
    const next = new Map(messages.map((message) => [message.id, message]));
    cache.batch({
      update: () => {
        for (const [id, message] of next) {
          if (this.#written.get(id) !== message) write(message);
        }
        for (const id of this.#written.keys()) {
          if (!next.has(id)) cache.evict({ id: reference(id) });
        }
      },
    });
    this.#written = next;
  }
}

function write(message: MessageModel): void {
  client.cache.writeFragment({
    id: reference(message.id),
    fragment: MessageFieldsFragmentDoc,
    fragmentName: "MessageFields",
    data: {
      ...message,
      __typename: "Message",
      error: message.error && { ...message.error, __typename: "MessageError" },
    },
  });
}

function reference(id: string): string | undefined {
  return client.cache.identify({ __typename: "Message", id });
}
