"""What all stores do alike."""

from datetime import timedelta

from graphql_app.errors import MessageIdConflictError
from graphql_app.interfaces import Added, Draft, ReplyDraft
from graphql_app.messages import Ref

IDS_STAY_USED = timedelta(hours=24)
"""How long the ids of messages that were cleared are kept."""

EVENTS_IN_A_READ = 100


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
