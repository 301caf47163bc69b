"""How errors are shown: expected ones with their code, all others masked, and logged."""

import logging

import pytest
from graphql import FieldNode, GraphQLError, GraphQLSyntaxError, NameNode, Source

from graphql_app.api.failures import noted, present, presented
from graphql_app.errors import (
    BadUserInputError,
    ChatError,
    MessageClearedError,
    MessageIdConflictError,
    MessageNotFoundError,
    StoreUnavailableError,
    TooManyOperationsError,
    TooManyRepliesError,
    UnauthenticatedError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadUserInputError("last", "must be 1 or more"), "BAD_USER_INPUT"),
        (MessageNotFoundError("1"), "MESSAGE_NOT_FOUND"),
        (MessageIdConflictError("1", "a reply"), "MESSAGE_ID_CONFLICT"),
        (MessageClearedError("1"), "MESSAGE_CLEARED"),
        (TooManyRepliesError(5), "TOO_MANY_REPLIES"),
        (TooManyOperationsError(5), "TOO_MANY_OPERATIONS"),
        (UnauthenticatedError(), "UNAUTHENTICATED"),
        (StoreUnavailableError(), "STORE_UNAVAILABLE"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_expected_failure_shows_its_sentence_and_its_code(
    error: ChatError, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert presented(error).formatted == {"message": str(error), "extensions": {"code": code}}
    assert caplog.records == []


def test_every_expected_failure_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in ChatError.__subclasses__()]
    assert len(set(codes)) == len(codes) > 0


def test_a_syntax_error_is_graphql_parse_failed() -> None:
    error = present(GraphQLSyntaxError(Source("{"), 1, "Unexpected."))
    assert error.extensions == {"code": "GRAPHQL_PARSE_FAILED"}


def test_an_error_without_a_cause_is_of_the_document_or_if_that_is_valid_of_the_input() -> None:
    assert present(GraphQLError("x")).extensions == {"code": "GRAPHQL_VALIDATION_FAILED"}
    error = present(GraphQLError("x"), valid_document=True)
    assert error.extensions == {"code": "BAD_USER_INPUT"}


def test_a_sentence_that_repeats_what_was_sent_is_cut() -> None:
    error = present(GraphQLError("x" * 2_000_000))
    assert error.message == "x" * 999 + "…"
    assert present(GraphQLError("x" * 1_000)).message == "x" * 1_000


def test_a_defect_is_masked_and_logged_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    cause = ZeroDivisionError("the password is 1234")
    field = FieldNode(name=NameNode(value="messages"), alias=NameNode(value="mine"))
    error = GraphQLError(
        str(cause), field, original_error=cause, path=["mine"], extensions={"hint": "1234"}
    )
    shown = present(error, request="r1").formatted
    id = shown["extensions"]["errorId"]
    assert shown == {
        "message": f"An internal error occurred. Its id is {id}.",
        "path": ["mine"],
        "extensions": {"code": "INTERNAL_SERVER_ERROR", "errorId": id},
    }
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is cause
    assert record.getMessage() == (
        f"an operation failed: error_id='{id}' field='messages' request='r1'"
    )


def test_no_two_defects_have_one_id() -> None:
    cause = ZeroDivisionError("x")
    assert len({noted(cause, "an operation failed") for _ in range(100)}) == 100
