"""What the server's results mean, also those of a later version."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from graphql_app.client.errors import UNKNOWN, ChatClientError
from graphql_app.messages import (
    Conversation,
    Message,
    MessageChanged,
    MessagesReset,
    ReplyError,
    ReplyErrorCode,
    Role,
    Status,
)


def ending_in(data: Mapping[str, Any]) -> tuple[Status, ReplyError | None]:
    """The status and the error of a message or a chunk, whatever later versions may call them."""
    try:
        status = Status(data["status"])
    except ValueError:
        # Whatever it means, it is not STREAMING: nothing more comes.
        return Status.ERROR, ReplyError(
            ReplyErrorCode.COMPLETION_FAILED,
            f"The reply ended as {data['status']}, which this client does not know.",
        )
    error = data["error"]
    if error is None:
        return status, None
    return status, ReplyError(ReplyErrorCode.read(error["code"]), error["message"])


def message_from(data: Mapping[str, Any]) -> Message:
    status, error = ending_in(data)
    return Message(
        id=data["id"],
        conversation_id=data["conversationId"],
        role=Role.USER if data["role"] == Role.USER else Role.ASSISTANT,
        content=data["content"],
        status=status,
        created_at=datetime.fromisoformat(data["createdAt"]),
        reply_to_id=data["replyToId"],
        error=error,
    )


def conversation_from(data: Mapping[str, Any]) -> Conversation:
    return Conversation(
        id=data["id"],
        title=data["title"],
        created_at=datetime.fromisoformat(data["createdAt"]),
        updated_at=datetime.fromisoformat(data["updatedAt"]),
    )


def event_from(data: Mapping[str, Any]) -> MessagesReset | MessageChanged | None:
    """An event; None for kinds that came later than this client."""
    match data["__typename"]:
        case "MessagesReset":
            messages = tuple(message_from(message) for message in data["messages"])
            return MessagesReset(data["conversationId"], messages)
        case "MessageChanged":
            return MessageChanged(message_from(data["message"]))
        case _:
            return None


def error_from(errors: Sequence[Any]) -> ChatClientError:
    """The first of a refused operation's errors."""
    first = errors[0] if errors else {}
    code = (first.get("extensions") or {}).get("code") or UNKNOWN
    return ChatClientError(code, first.get("message") or "The server refused without a reason.")
