"""What a caller of the client may have to deal with."""

from typing import Final

CONNECTION_FAILED: Final = "CONNECTION_FAILED"
CONNECTION_LOST: Final = "CONNECTION_LOST"
CONNECTION_REFUSED: Final = "CONNECTION_REFUSED"
REQUEST_TOO_LARGE: Final = "REQUEST_TOO_LARGE"
CLIENT_CLOSED: Final = "CLIENT_CLOSED"
UNKNOWN: Final = "UNKNOWN"


class ChatClientError(Exception):
    """The server refused an operation, or cannot be reached. Nothing is tried again.

    `code` is the server's `extensions.code` (UNKNOWN if it has none), or one of the client's own:

    - CONNECTION_FAILED: the first connection could not be made.
    - CONNECTION_LOST: a later one was not made again in time, or broke while `clear` was under way.
    - CONNECTION_REFUSED: the server does not want this client, or does not speak its protocol.
    - REQUEST_TOO_LARGE: the message, or the text to resume with, is more than a frame may carry.
    - CLIENT_CLOSED: the client was closed while the operation ran.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
