"""How errors are shown: expected ones with their code, all others as INTERNAL_SERVER_ERROR."""

import logging

from graphql import GraphQLError, GraphQLSyntaxError

from graphql_app.errors import ChatError

logger = logging.getLogger(__name__)

INTERNAL_SERVER_ERROR = "INTERNAL_SERVER_ERROR"
BAD_USER_INPUT = "BAD_USER_INPUT"
GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"

MAX_MESSAGE_LENGTH = 1_000
"""The longest sentence, in characters: it may repeat what the client sent, and be megabytes."""


def present(error: GraphQLError, *, valid_document: bool = False) -> GraphQLError:
    """Gives an error the code that clients see; masks and logs it if nobody expected it.

    An error without a cause is the client's: of its document, or, if that was valid, of what it
    put in.
    """
    cause = error.original_error
    if isinstance(cause, ChatError):
        code = cause.code
    elif cause is not None and not isinstance(cause, GraphQLError):
        code = INTERNAL_SERVER_ERROR
        logger.error("an operation failed at %s", error.path, exc_info=cause)
        error.message = "An internal error occurred."
    elif isinstance(error, GraphQLSyntaxError):
        code = GRAPHQL_PARSE_FAILED
    elif valid_document:
        code = BAD_USER_INPUT
    else:
        code = GRAPHQL_VALIDATION_FAILED
    if len(error.message) > MAX_MESSAGE_LENGTH:
        error.message = f"{error.message[: MAX_MESSAGE_LENGTH - 1]}…"
    error.extensions = {"code": code}
    return error


def presented(error: ChatError) -> GraphQLError:
    """An expected failure that happened outside of the execution of an operation."""
    return present(GraphQLError(str(error), original_error=error))
