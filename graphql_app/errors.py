"""Every failure that has a name.

    Exception
    ├── ChatError                  expected; the client sees its sentence and its code
    │   ├── BadUserInputError         BAD_USER_INPUT
    │   ├── MessageNotFoundError      MESSAGE_NOT_FOUND
    │   ├── MessageIdConflictError    MESSAGE_ID_CONFLICT
    │   ├── MessageClearedError       MESSAGE_CLEARED
    │   ├── ReplyStreamingError       REPLY_STREAMING
    │   ├── TooManyRepliesError       TOO_MANY_REPLIES
    │   ├── TooManyOperationsError    TOO_MANY_OPERATIONS
    │   ├── DocumentTooCostlyError    DOCUMENT_TOO_COSTLY
    │   ├── DocumentNotTrustedError   DOCUMENT_NOT_TRUSTED
    │   ├── PersistedQueryNotFoundError      PERSISTED_QUERY_NOT_FOUND
    │   ├── PersistedQueryNotSupportedError  PERSISTED_QUERY_NOT_SUPPORTED
    │   ├── RateLimitedError          RATE_LIMITED
    │   ├── UnauthenticatedError      UNAUTHENTICATED
    │   ├── KeysUnavailableError      AUTHENTICATION_UNAVAILABLE
    │   └── StoreUnavailableError     STORE_UNAVAILABLE
    ├── CompletionError            raised by a completion; ends its reply, shown with the reply
    ├── FencedError                a writer that may write no more; never leaves the server
    └── ConfigurationError         a setting that cannot work; ends the command with one line

Whatever else is raised is a defect: clients see INTERNAL_SERVER_ERROR and nothing of the cause.
"""

from typing import ClassVar

from graphql_app.messages import ReplyErrorCode


class ChatError(Exception):
    """An expected failure. `code` is what a client sees in `extensions.code`."""

    code: ClassVar[str]


class BadUserInputError(ChatError):
    """An argument is outside its limits."""

    code = "BAD_USER_INPUT"

    def __init__(self, argument: str, limit: str) -> None:
        super().__init__(f"{argument} {limit}.")
        self.argument = argument
        self.limit = limit


class MessageNotFoundError(ChatError):
    """There is no such message, or it is somebody else's."""

    code = "MESSAGE_NOT_FOUND"

    def __init__(self, id: str, kind: str = "message") -> None:
        super().__init__(f"There is no {kind} {_quoted(id)}.")
        self.id = id


class MessageIdConflictError(ChatError):
    """The id was used for other content, in another conversation, or for a reply."""

    code = "MESSAGE_ID_CONFLICT"

    def __init__(self, id: str, used_for: str) -> None:
        super().__init__(
            f"The id {_quoted(id)} was already used for {used_for}; a new message needs a new id."
        )
        self.id = id
        self.used_for = used_for


class MessageClearedError(ChatError):
    """The message that is followed, or sent again, was cleared, or expired (`?ttl=`)."""

    code = "MESSAGE_CLEARED"

    def __init__(self, id: str) -> None:
        super().__init__(
            f"The message {_quoted(id)} was cleared or has expired; its id stays used."
        )
        self.id = id


class ReplyStreamingError(ChatError):
    """Another reply was asked for while the one before it streams; nothing was stored."""

    code = "REPLY_STREAMING"

    def __init__(self, id: str) -> None:
        super().__init__(
            f"The reply {_quoted(id)} is still streaming; stop it first, or wait for its end."
        )
        self.id = id


class TooManyRepliesError(ChatError):
    """As many replies stream as may; nothing was stored."""

    code = "TOO_MANY_REPLIES"

    def __init__(self, limit: int, *, of_owner: bool = False) -> None:
        super().__init__(
            f"You are already streaming your maximum of {limit:,} replies; stop one, or wait for "
            "the end of one."
            if of_owner
            else f"The server is already streaming its maximum of {limit:,} replies; try again "
            "later."
        )
        self.limit = limit


class TooManyOperationsError(ChatError):
    """The socket runs as many operations as it may."""

    code = "TOO_MANY_OPERATIONS"

    def __init__(self, limit: int) -> None:
        super().__init__(f"This connection is already running its maximum of {limit:,} operations.")
        self.limit = limit


class DocumentTooCostlyError(ChatError):
    """A document has more of something than it may."""

    code = "DOCUMENT_TOO_COSTLY"

    def __init__(self, bound: str, limit: int) -> None:
        super().__init__(f"The document is too costly: it has more than {limit:,} {bound}.")
        self.bound = bound
        self.limit = limit


class DocumentNotTrustedError(ChatError):
    """The server runs only documents that it knows, and this is none of them."""

    code = "DOCUMENT_NOT_TRUSTED"

    def __init__(self) -> None:
        super().__init__("This server runs only the documents that it was given, and not this one.")


class PersistedQueryNotFoundError(ChatError):
    """There is no document of that hash. Apollo's clients know the sentence, and send the text."""

    code = "PERSISTED_QUERY_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("PersistedQueryNotFound")


class PersistedQueryNotSupportedError(ChatError):
    """The server knows no documents. Apollo's clients know the sentence, and send the text."""

    code = "PERSISTED_QUERY_NOT_SUPPORTED"

    def __init__(self) -> None:
        super().__init__("PersistedQueryNotSupported")


class RateLimitedError(ChatError):
    """Somebody did something too often; nothing was stored."""

    code = "RATE_LIMITED"

    def __init__(self, what: str, per_minute: int, retry_seconds: int) -> None:
        unit = "second" if retry_seconds == 1 else "seconds"
        super().__init__(
            f"These are more than {per_minute:,} {what} a minute; "
            f"try again in {retry_seconds} {unit}."
        )
        self.retry_seconds = retry_seconds


class UnauthenticatedError(ChatError):
    """A token is required, and missing, wrong or expired."""

    code = "UNAUTHENTICATED"

    def __init__(self, reason: str = "A valid token is required.") -> None:
        super().__init__(reason)


class KeysUnavailableError(ChatError):
    """Whether a token is good cannot be said: the keys of whoever makes them cannot be fetched."""

    code = "AUTHENTICATION_UNAVAILABLE"
    retry_seconds = 10
    """After how long it may be of use to try again."""

    def __init__(self) -> None:
        super().__init__("Tokens cannot be checked at the moment; try again.")


class StoreUnavailableError(ChatError):
    """The store cannot be reached. Whether an interrupted write happened is unknown: repeat it."""

    code = "STORE_UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__("The message store cannot be reached at the moment; try again.")


class CompletionError(Exception):
    """Raised by a completion to end its reply with a sentence that the user may read.

    Args:
        code: how the reply ends; one that does not exist counts as COMPLETION_FAILED.
        message: for people; no secrets; cut at 1,000 characters.
    """

    def __init__(self, code: ReplyErrorCode | str, message: str) -> None:
        super().__init__(message)
        self.code = ReplyErrorCode.read(code)
        self.message = str(message)


class FencedError(Exception):
    """The reply ended or was cleared, or the writer's lease is not the reply's: write no more."""


class ConfigurationError(Exception):
    """A setting that cannot work; the sentence names it and says what is allowed."""


def _quoted(id: str) -> str:
    """An id as it may stand in a sentence; it can come from a client, unchecked and long."""
    return repr(id if len(id) <= 128 else id[:127] + "…")
