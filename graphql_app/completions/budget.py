"""How much of a conversation a model is sent."""

from collections.abc import Sequence
from dataclasses import dataclass

from graphql_app.messages import Message, Role

BYTES_PER_TOKEN = 4


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has: a quarter of its UTF-8 bytes, rounded up.

    Every model counts in its own way; this is near enough for English and a little low for
    Chinese or Japanese.
    """
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Budget:
    """The most messages, and the most estimated tokens, that a model is sent; 0 is no limit."""

    messages: int = 0
    tokens: int = 0

    def cut(self, history: Sequence[Message]) -> Sequence[Message]:
        """The newest messages that fit, whole; the last one always does.

        What is left begins with a user's message: the answer to one that is gone goes, too.
        """
        begin, tokens = len(history), 0
        while begin:
            tokens += estimated_tokens(history[begin - 1].content)
            is_newest = begin == len(history)
            if not is_newest and (
                0 < self.messages <= len(history) - begin or 0 < self.tokens < tokens
            ):
                break
            begin -= 1
        if begin:
            while begin < len(history) - 1 and history[begin].role is not Role.USER:
                begin += 1
        return history[begin:]
