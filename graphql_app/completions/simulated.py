"""The simulated model: thinks for a moment, then gives one of a few canned answers."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from graphql_app.completions.words import words
from graphql_app.interfaces import Completion
from graphql_app.messages import Message, Role

THINKING_WORDS = 10
"""How many words' time it thinks before the first one."""

PLAIN = (
    "That is a good question. The short answer is yes. The longer answer is that every word you "
    "read here was written down before it was sent to you, so you may close this tab, reload it "
    "or pull the plug of your router: when you come back, the text goes on where you left it."
)

MARKDOWN = """\
Here is how a client keeps the text right, whatever it has missed or received twice:

1. Keep the `content` that you show.
2. For each chunk, cut it at `offset` and append `text`.
3. When the connection drops, resume with what you have.

```python
def apply(content: str, offset: int, text: str) -> str:
    units = content.encode("utf-16-le")[: 2 * offset]
    return units.decode("utf-16-le") + text
```

That is **all**. It works for *any* text: 日本語, naïve façades, and families like 👩‍👩‍👧‍👦.
"""

LONG = "\n\n".join(
    f"{number}. {sentence}"
    for number, sentence in enumerate(
        (
            "A reply is a log of text that only grows at its end. A reader says how much it has, "
            "and gets the rest.",
            "The writer does not know its readers. A reader that leaves in the middle of a "
            "sentence changes nothing for the writer, nor for anybody else who reads along.",
            "A reader does not know the writer. It looks for what is new, takes all of it, and "
            "waits until it is told that there is more.",
            "So there is no queue between the two that could grow, overflow or be forgotten. A "
            "slow reader gets fewer, longer pieces, and ends up with the same text.",
            "Stopping is a change of the log, too: its last entry. Everyone who reads sees it, at "
            "the same place, and nobody can write behind it.",
            "When the process that writes dies, somebody notices that its lease ran out, and "
            "writes the last entry in its name. Nobody waits for a reply that will never come.",
            "And when you send the same message twice, because the first answer did not reach "
            "you, you get the same reply. It is generated only once, and paid for only once.",
        ),
        start=1,
    )
)

ANSWERS = (PLAIN, MARKDOWN, LONG)


def simulated(word_delay_seconds: float) -> Completion:
    """A completion that needs no model: answers in turn, one word every `word_delay_seconds`."""

    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        questions = sum(message.role is Role.USER for message in history)
        await asyncio.sleep(THINKING_WORDS * word_delay_seconds)
        for word in words(ANSWERS[(questions - 1) % len(ANSWERS)]):
            yield word
            await asyncio.sleep(word_delay_seconds)

    return complete
