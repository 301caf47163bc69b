"""The text of a reply as a client has it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql_app.client.results import ending_in
from graphql_app.messages import ReplyError, Status, common_prefix, utf16_length


@dataclass(frozen=True, slots=True)
class Update:
    """What a piece of a reply changes: `text` takes the place of the last `replaced` characters.

    `replaced` is 0 unless text that was given to `follow` turns out to be wrong.
    """

    message_id: str
    text: str
    content: str
    """The whole text so far."""
    status: Status
    error: ReplyError | None = None
    """Set exactly when status is ERROR."""
    replaced: int = 0


class GapError(Exception):
    """A chunk's offset is beyond the text: something was lost."""


class ReplyText:
    """A reply as a client has it: the rule of offsets, without any I/O."""

    def __init__(self, message_id: str | None = None, content: str = "") -> None:
        self.message_id = message_id
        self.content = content
        self._length = utf16_length(content)
        self._updated = False

    def apply(self, chunk: Mapping[str, Any]) -> Update | None:
        """Keeps content = content[:offset] + text, and says what that changes, if anything.

        Raises:
            GapError: the chunk is beyond what is there.
        """
        self.message_id = str(chunk["messageId"])
        offset: int = chunk["offset"]
        text: str = chunk["text"]
        if offset > self._length:
            raise GapError
        replaced = 0
        if offset == self._length:
            self.content += text
            self._length += utf16_length(text)
        else:
            before = self.content
            self.content = _utf16_slice(before, offset) + text
            self._length = utf16_length(self.content)
            common = len(common_prefix(before, self.content))
            text = self.content[common:]
            replaced = len(before) - common
        status, error = ending_in(chunk)
        if self._updated and not text and not replaced and not status.is_final:
            return None
        self._updated = True
        return Update(self.message_id, text, self.content, status, error, replaced)


def _utf16_slice(text: str, end: int) -> str:
    """JavaScript's text.slice(0, end), also of a text that has lone surrogates."""
    if text.isascii():
        return text[:end]
    units = text.encode("utf-16-le", "surrogatepass")
    return units[: 2 * end].decode("utf-16-le", "surrogatepass")
