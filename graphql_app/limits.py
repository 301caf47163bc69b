"""How much of everything there may be, and the checks of what clients send."""

from dataclasses import dataclass

from graphql_app.errors import BadUserInputError
from graphql_app.messages import is_scalar_text, utf16_length


@dataclass(frozen=True, slots=True)
class Limits:
    """The chat's limits. Lengths of texts are in UTF-16 code units.

    `replies` is how many stream at once, `replies_per_owner` how many of one owner; None: any.
    """

    content_length: int = 32_768
    id_length: int = 128
    reply_length: int = 262_144
    silence_seconds: float = 60.0
    list_size: int = 1_000
    replies: int = 5_000
    replies_per_owner: int | None = None

    def check_id(self, argument: str, id: str) -> None:
        if not 1 <= len(id) <= self.id_length or not id.isprintable():
            raise BadUserInputError(argument, f"must be 1 to {self.id_length} printable characters")

    def check_content(self, argument: str, content: str) -> None:
        if not content.strip():
            raise BadUserInputError(argument, "must not be blank")
        if utf16_length(content) > self.content_length:
            raise BadUserInputError(
                argument, f"must be at most {self.content_length:,} UTF-16 code units long"
            )
        if not is_scalar_text(content):
            raise BadUserInputError(argument, "must not contain NUL or a lone surrogate")

    def check_offset(self, argument: str, offset: int) -> None:
        if offset < 0:
            raise BadUserInputError(argument, "must be 0 or more")

    def checked_size(self, argument: str, size: int | None) -> int:
        """How long a list becomes that is asked for with `size`."""
        if size is None:
            return self.list_size
        if size < 1:
            raise BadUserInputError(
                argument, f"must be 1 or more (lists have at most {self.list_size:,} entries)"
            )
        return min(size, self.list_size)
