"""How errors are shown: expected ones with their code, all others as INTERNAL_SERVER_ERROR.

Of those a client sees nothing but an id, under which the log has the cause.
"""

import logging
import secrets
from contextlib import suppress

from graphql import GraphQLError, GraphQLSyntaxError

from graphql_app import metrics
from graphql_app.errors import ChatError
from graphql_app.logs import tell

logger = logging.getLogger(__name__)

INTERNAL_SERVER_ERROR = "INTERNAL_SERVER_ERROR"
BAD_USER_INPUT = "BAD_USER_INPUT"
GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"

MAX_MESSAGE_LENGTH = 1_000
"""The longest sentence, in characters: it may repeat what the client sent, and be megabytes."""

NOTED = "_graphql_app_noted"
"""The attribute of an exception that the log has already."""


def new_error_id() -> str:
    """An id of an error that nobody expected; nobody can guess another's."""
    return secrets.token_hex(8)


def noted(cause: BaseException, event: str, **facts: object) -> str:
    """Logs what nobody expected, with its traceback; returns the id that the log has for it."""
    id = new_error_id()
    metrics.internal_error()
    tell(logger, event, {"error_id": id, **facts}, level=logging.ERROR, error=cause)
    with suppress(AttributeError, TypeError):
        setattr(cause, NOTED, True)
    return id


def internal_sentence(id: str) -> str:
    return f"An internal error occurred. Its id is {id}."


def present(
    error: GraphQLError, *, valid_document: bool = False, request: str | None = None
) -> GraphQLError:
    """Gives an error the code that clients see; masks and logs it if nobody expected it.

    An error without a cause is the client's: of its document, or, if that was valid, of what it
    put in.

    Args:
        request: the id by which the log knows the operation.
    """
    cause = error.original_error
    more: dict[str, str] = {}
    if isinstance(cause, ChatError):
        code = cause.code
    elif cause is not None and not isinstance(cause, GraphQLError):
        code = INTERNAL_SERVER_ERROR
        id = noted(cause, "an operation failed", field=_field(error), request=request)
        error.message = internal_sentence(id)
        more = {"errorId": id}
    elif isinstance(error, GraphQLSyntaxError):
        code = GRAPHQL_PARSE_FAILED
    elif valid_document:
        code = BAD_USER_INPUT
    else:
        code = GRAPHQL_VALIDATION_FAILED
    if len(error.message) > MAX_MESSAGE_LENGTH:
        error.message = f"{error.message[: MAX_MESSAGE_LENGTH - 1]}…"
    error.extensions = {"code": code, **more}
    return error


def presented(error: ChatError) -> GraphQLError:
    """An expected failure that happened outside of the execution of an operation."""
    return present(GraphQLError(str(error), original_error=error))


def _field(error: GraphQLError) -> str | None:
    """The field that failed; not the path to it, in which a client has its own words."""
    name = getattr(error.nodes[0], "name", None) if error.nodes else None
    return None if name is None else name.value
