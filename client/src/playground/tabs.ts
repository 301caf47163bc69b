// crypto.randomUUID exists on https and localhost only; the playground runs elsewhere too.
function newId() {
  const parts = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36));
  return parts.join("");
}

const sendId = newId();

function tab(variables: object, query: string) {
  return { query: query.trimStart(), variables: JSON.stringify(variables, null, 2) };
}

export const sendTab = tab(
  { message: { id: sendId, content: "Hello!", conversationId: "default" } },
  `
# Streams the reply. Give each new message a new id.
subscription Send($message: MessageInput!) {
  sendMessage(message: $message) {
    messageId
    offset
    text
    status
    error {
      code
      message
    }
  }
}
`,
);

const resumeTab = tab(
  { message: { id: "PASTE THE messageId", content: "" } },
  `
# Paste the messageId of Send, and the text you have.
subscription Resume($message: ResumeInput!) {
  resumeMessage(message: $message) {
    messageId
    offset
    text
    status
    error {
      code
      message
    }
  }
}
`,
);

const regenerateTab = tab(
  { message: { id: newId(), messageId: sendId } },
  `
# Streams another reply to the message of Send. Give each new reply a new id.
subscription Regenerate($message: RegenerateInput!) {
  regenerateMessage(message: $message) {
    messageId
    offset
    text
    status
    error {
      code
      message
    }
  }
}
`,
);

const stopTab = tab(
  { id: sendId },
  `
# Paste the messageId, or the id that was sent.
mutation Stop($id: ID!) {
  stopMessage(id: $id) {
    id
    status
    content
  }
}
`,
);

const clearTab = tab(
  { conversationId: "default" },
  `
# Paste a conversation's id. Its messages go for good.
mutation Clear($conversationId: ID!) {
  clearMessages(conversationId: $conversationId)
}
`,
);

const eventsTab = tab(
  { conversationId: "default" },
  `
# Paste a conversation's id, and send in another window.
subscription Events($conversationId: ID!) {
  conversationEvents(conversationId: $conversationId) {
    __typename
    ... on MessagesReset {
      conversationId
      messages(last: 20) {
        id
        role
        content
        status
      }
    }
    ... on MessageChanged {
      message {
        id
        role
        content
        status
        replyToId
      }
    }
  }
}
`,
);

const historyTab = tab(
  { conversationId: "default", last: 20, before: null },
  `
# Paste a message's id as before for what came before it.
query History($conversationId: ID!, $last: Int, $before: ID) {
  messages(conversationId: $conversationId, last: $last, before: $before) {
    id
    role
    content
    status
    createdAt
    replyToId
    error {
      code
      message
    }
  }
}
`,
);

export const tabs = [sendTab, resumeTab, regenerateTab, stopTab, clearTab, eventsTab, historyTab];
