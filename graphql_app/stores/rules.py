"""What all stores do alike."""

from datetime import timedelta

from graphql_app.errors import MessageIdConflictError
from graphql_app.interfaces import Draft
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


def check_repeated(at_offset: int, text: str, *, begin: int, there: str, end: int) -> None:
    """Checks that a text is a repetition: that a reply has it where it says it stands.

    Args:
        there: the reply's text from `begin` to `end`, where it was looked up.

    Raises:
        ValueError: it has not.
    """
    if begin != at_offset or not there.startswith(text):
        raise ValueError(f"text for offset {at_offset} does not fit: the end is {end}")
