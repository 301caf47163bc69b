"""The Python client: sends messages and follows replies, whatever becomes of the connection.

    send, regenerate ──▶ subscribe ──▶ chunk … chunk ──▶ final status ──▶ end
                             ▲            │ cut, bare complete, or a gap
                             └────────────┘ then: resume with the text so far, or ask again

All operations of a client share one socket. It is opened again when an operation finds it broken;
the operations then subscribe anew, each from where it stands.
"""

from graphql_app.client.client import DEFAULT_CONVERSATION, DEFAULT_URL, ChatClient
from graphql_app.client.connection import ConnectionChange, Token
from graphql_app.client.documents import (
    CHUNK,
    CLEAR,
    CONVERSATIONS,
    EVENTS,
    MESSAGE,
    MESSAGES,
    ONE_MESSAGE,
    REGENERATE,
    REPLIES,
    RESUME,
    SEND,
    STOP,
)
from graphql_app.client.errors import (
    CLIENT_CLOSED,
    CONNECTION_FAILED,
    CONNECTION_LOST,
    CONNECTION_REFUSED,
    REQUEST_TOO_LARGE,
    UNKNOWN,
    ChatClientError,
)
from graphql_app.client.failures import (
    FINAL_CLOSE_CODES,
    RETRIED_HTTP_STATUSES,
    reason_of,
    refusal_in,
)
from graphql_app.client.reply import GapError, ReplyText, Update
from graphql_app.client.retry import Backoff, Retry
from graphql_app.client.transport import CLOSE_SECONDS, MAX_MESSAGE_BYTES, MAX_REQUEST_BYTES

__all__ = [
    "CHUNK",
    "CLEAR",
    "CLIENT_CLOSED",
    "CLOSE_SECONDS",
    "CONNECTION_FAILED",
    "CONNECTION_LOST",
    "CONNECTION_REFUSED",
    "CONVERSATIONS",
    "DEFAULT_CONVERSATION",
    "DEFAULT_URL",
    "EVENTS",
    "FINAL_CLOSE_CODES",
    "MAX_MESSAGE_BYTES",
    "MAX_REQUEST_BYTES",
    "MESSAGE",
    "MESSAGES",
    "ONE_MESSAGE",
    "REGENERATE",
    "REPLIES",
    "REQUEST_TOO_LARGE",
    "RESUME",
    "RETRIED_HTTP_STATUSES",
    "SEND",
    "STOP",
    "UNKNOWN",
    "Backoff",
    "ChatClient",
    "ChatClientError",
    "ConnectionChange",
    "GapError",
    "ReplyText",
    "Retry",
    "Token",
    "Update",
    "reason_of",
    "refusal_in",
]
