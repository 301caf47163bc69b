"""What all stores do alike."""

from dataclasses import replace
from datetime import timedelta

from graphql_app.errors import MessageIdConflictError
from graphql_app.interfaces import Added, Draft, ReplyDraft
from graphql_app.messages import Ref, Usage, utf16_head

IDS_STAY_USED = timedelta(hours=24)
"""How long the ids of messages that were cleared are kept."""

EVENTS_IN_A_READ = 100

TITLE_LENGTH = 80
"""The longest title, in code points."""

TITLE_FROM = 1_024
"""How much of a message a title is made from, in UTF-16 code units: whoever lists conversations
does not read their longest messages."""


def title_of(beginning: str) -> str:
    """How a message begins, on one line.

    Args:
        beginning: the message, or more than the first TITLE_FROM code units of it.
    """
    head = utf16_head(beginning, TITLE_FROM)
    title = " ".join(head.split())
    if head == beginning and len(title) <= TITLE_LENGTH:
        return title
    return title[: TITLE_LENGTH - 1].rstrip() + "…"


def usage_kept(usage: Usage | None) -> Usage | None:
    """What is kept of a usage: its times in whole milliseconds, and nothing if it says nothing."""
    if usage is None or usage == Usage():
        return None
    return replace(
        usage,
        time_to_first_token=_seconds(milliseconds(usage.time_to_first_token)),
        duration=_seconds(milliseconds(usage.duration)),
    )


def usage_of(
    model: str | None,
    input_tokens: int | None,
    output_tokens: int | None,
    time_to_first_token: int | None,
    duration: int | None,
) -> Usage | None:
    """A usage, from times in milliseconds; None if nothing of it is known."""
    usage = Usage(
        model, input_tokens, output_tokens, _seconds(time_to_first_token), _seconds(duration)
    )
    return None if usage == Usage() else usage


def milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1_000)


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1_000


def reply_to_the_same(
    draft: Draft, newest_reply: str | None, conversation: str, content: str
) -> Ref:
    """The newest reply to a draft's message, given what is stored under the message's id.

    Raises:
        MessageIdConflictError: that is something else than the draft's message.
    """
    if newest_reply is None:
        raise MessageIdConflictError(draft.message.id, "a reply")
    if conversation != draft.conversation.id:
        raise MessageIdConflictError(draft.message.id, "a message of another conversation")
    if content != draft.content:
        raise MessageIdConflictError(draft.message.id, "a message with other content")
    return Ref(draft.message.owner, newest_reply)


def the_same_reply(
    draft: ReplyDraft, question: str, *, reply_to: str | None, token: str | None
) -> Added:
    """The reply that is stored under the id of a draft's, if it is one to the same question.

    Args:
        question: the id of the user's message that the draft means.
        reply_to: the user's message that the stored one answers; None: it is no reply.
        token: that of the draft that it was stored by; None: it came with its user's message.

    Raises:
        MessageIdConflictError: that is something else than the draft's reply.
    """
    if reply_to is None:
        raise MessageIdConflictError(draft.reply.id, "a user's message")
    if reply_to != question:
        raise MessageIdConflictError(draft.reply.id, "a reply to another message")
    if token is None:
        raise MessageIdConflictError(draft.reply.id, "the first reply to this message")
    return Added(draft.reply, created=token == draft.token)


def check_repeated(at_offset: int, text: str, *, begin: int, there: str, end: int) -> None:
    """Checks that a text is a repetition: that a reply has it where it says it stands.

    Args:
        there: the reply's text from `begin` to `end`, where it was looked up.

    Raises:
        ValueError: it has not.
    """
    if begin != at_offset or not there.startswith(text):
        raise ValueError(f"text for offset {at_offset} does not fit: the end is {end}")
