"""The answers in the screenshots: each question has its own, and one of them never ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from graphql_app import CompletionError, Message

TITLE = "Why does my chat lose the answer when I reload the page?"
CODE = "Show me the rule in TypeScript, please."
TABLE = "Which store should I choose?"
LIMITS = "And what if the model fails?"

ANSWERS = {
    TITLE: """\
Because in most systems the answer lives **in the connection**. When the page goes, so does the \
stream, and with it every word that came after.

Here a reply is a log in the store:

1. One *producer* appends what the model says.
2. Any number of *followers* read it, from wherever they are.

So a reload is nothing special: the page says how much it has, and gets the rest.
""",
    CODE: """\
It is one line, and it is right for new words, repeated words and corrected words alike:

```typescript
type Chunk = { offset: number; text: string };

/** The text of a reply, after one more chunk. */
function merge(content: string, chunk: Chunk): string {
  return content.slice(0, chunk.offset) + chunk.text;
}
```

An offset counts UTF-16 code units, which is what `length` counts in JavaScript. A chunk never \
ends in the middle of""",
    TABLE: """\
| store | for | survives |
|---|---|---|
| memory | one process | nothing |
| SQLite | one machine, many workers | a killed process |
| PostgreSQL | several machines | a power loss |
| Redis | several machines, fastest | a killed process |

> When in doubt, take SQLite: it is a file, and there is nothing to run.
""",
    LIMITS: "Then the reply ends, its text is kept, and everybody is told",
}


async def complete(history: Sequence[Message]) -> AsyncIterator[str]:
    """Says the answer; one without a full stop at its end goes on until somebody stops it."""
    question = history[-1].content
    answer = ANSWERS.get(question, "It goes on on the server.\n")
    for begin in range(0, len(answer), 4):
        yield answer[begin : begin + 4]
        await asyncio.sleep(0.002)
    if question == LIMITS:
        raise CompletionError("COMPLETION_FAILED", "The model is overloaded; try again later.")
    if not answer.endswith("\n"):
        await asyncio.Event().wait()
