"""What people read when something fails, word by word."""

import pytest

from graphql_app import errors
from graphql_app.errors import (
    BadUserInputError,
    ChatError,
    CompletionError,
    ConfigurationError,
    DocumentNotTrustedError,
    DocumentTooCostlyError,
    FencedError,
    KeysUnavailableError,
    MessageClearedError,
    MessageIdConflictError,
    MessageNotFoundError,
    PersistedQueryNotFoundError,
    PersistedQueryNotSupportedError,
    RateLimitedError,
    ReplyStreamingError,
    StoreUnavailableError,
    TooManyOperationsError,
    TooManyRepliesError,
    UnauthenticatedError,
)
from graphql_app.messages import ReplyErrorCode


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (
            BadUserInputError("last", "must be 1 or more"),
            "BAD_USER_INPUT",
            "last must be 1 or more.",
        ),
        (
            MessageNotFoundError("m1"),
            "MESSAGE_NOT_FOUND",
            "There is no message 'm1'.",
        ),
        (
            MessageNotFoundError("m1", "reply"),
            "MESSAGE_NOT_FOUND",
            "There is no reply 'm1'.",
        ),
        (
            MessageIdConflictError("m1", "a reply"),
            "MESSAGE_ID_CONFLICT",
            "The id 'm1' was already used for a reply; a new message needs a new id.",
        ),
        (
            MessageClearedError("m1"),
            "MESSAGE_CLEARED",
            "The message 'm1' was cleared or has expired; its id stays used.",
        ),
        (
            ReplyStreamingError("r1"),
            "REPLY_STREAMING",
            "The reply 'r1' is still streaming; stop it first, or wait for its end.",
        ),
        (
            TooManyRepliesError(5),
            "TOO_MANY_REPLIES",
            "The server is already streaming its maximum of 5 replies; try again later.",
        ),
        (
            TooManyOperationsError(100),
            "TOO_MANY_OPERATIONS",
            "This connection is already running its maximum of 100 operations.",
        ),
        (
            DocumentTooCostlyError("tokens", 1_000),
            "DOCUMENT_TOO_COSTLY",
            "The document is too costly: it has more than 1,000 tokens.",
        ),
        (
            DocumentNotTrustedError(),
            "DOCUMENT_NOT_TRUSTED",
            "This server runs only the documents that it was given, and not this one.",
        ),
        (PersistedQueryNotFoundError(), "PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound"),
        (
            PersistedQueryNotSupportedError(),
            "PERSISTED_QUERY_NOT_SUPPORTED",
            "PersistedQueryNotSupported",
        ),
        (
            RateLimitedError("sends", 1_200, 7),
            "RATE_LIMITED",
            "These are more than 1,200 sends a minute; try again in 7 seconds.",
        ),
        (
            RateLimitedError("requests", 1, 1),
            "RATE_LIMITED",
            "These are more than 1 requests a minute; try again in 1 second.",
        ),
        (
            UnauthenticatedError(),
            "UNAUTHENTICATED",
            "A valid token is required.",
        ),
        (
            UnauthenticatedError("The token has expired."),
            "UNAUTHENTICATED",
            "The token has expired.",
        ),
        (
            TooManyRepliesError(20, of_owner=True),
            "TOO_MANY_REPLIES",
            "You are already streaming your maximum of 20 replies; stop one, or wait for the end "
            "of one.",
        ),
        (
            KeysUnavailableError(),
            "AUTHENTICATION_UNAVAILABLE",
            "Tokens cannot be checked at the moment; try again.",
        ),
        (
            StoreUnavailableError(),
            "STORE_UNAVAILABLE",
            "The message store cannot be reached at the moment; try again.",
        ),
    ],
)
def test_an_expected_failure_has_its_code_and_its_sentence(
    error: ChatError, code: str, sentence: str
) -> None:
    assert error.code == code
    assert str(error) == sentence


def test_there_is_no_expected_failure_but_those_drawn_in_the_tree() -> None:
    assert {error.__name__: error.code for error in ChatError.__subclasses__()} == {
        "BadUserInputError": "BAD_USER_INPUT",
        "MessageNotFoundError": "MESSAGE_NOT_FOUND",
        "MessageIdConflictError": "MESSAGE_ID_CONFLICT",
        "MessageClearedError": "MESSAGE_CLEARED",
        "ReplyStreamingError": "REPLY_STREAMING",
        "TooManyRepliesError": "TOO_MANY_REPLIES",
        "TooManyOperationsError": "TOO_MANY_OPERATIONS",
        "DocumentTooCostlyError": "DOCUMENT_TOO_COSTLY",
        "DocumentNotTrustedError": "DOCUMENT_NOT_TRUSTED",
        "PersistedQueryNotFoundError": "PERSISTED_QUERY_NOT_FOUND",
        "PersistedQueryNotSupportedError": "PERSISTED_QUERY_NOT_SUPPORTED",
        "RateLimitedError": "RATE_LIMITED",
        "UnauthenticatedError": "UNAUTHENTICATED",
        "KeysUnavailableError": "AUTHENTICATION_UNAVAILABLE",
        "StoreUnavailableError": "STORE_UNAVAILABLE",
    }
    assert errors.__doc__ is not None
    for error in ChatError.__subclasses__():
        drawn = f"{error.__name__} "
        assert any(drawn in line and error.code in line for line in errors.__doc__.splitlines())


@pytest.mark.parametrize("error", [CompletionError, FencedError, ConfigurationError])
def test_failures_that_clients_do_not_see_by_code_are_no_chat_errors(
    error: type[Exception],
) -> None:
    assert error.__bases__ == (Exception,)
    assert errors.__doc__ is not None
    assert f"── {error.__name__} " in errors.__doc__


def test_an_error_holds_its_facts() -> None:
    assert BadUserInputError("last", "must be 1 or more").argument == "last"
    assert BadUserInputError("last", "must be 1 or more").limit == "must be 1 or more"
    assert MessageNotFoundError("m1").id == "m1"
    assert MessageIdConflictError("m1", "a reply").id == "m1"
    assert MessageIdConflictError("m1", "a reply").used_for == "a reply"
    assert MessageClearedError("m1").id == "m1"
    assert ReplyStreamingError("r1").id == "r1"
    assert TooManyRepliesError(5).limit == 5
    assert TooManyOperationsError(100).limit == 100


@pytest.mark.parametrize(
    ("id", "shown"),
    [
        ("it's", '"it\'s"'),
        ("two\nlines", r"'two\nlines'"),
        ("\ud83d", r"'\ud83d'"),
        ("x" * 128, "'" + "x" * 128 + "'"),
        ("x" * 129, "'" + "x" * 127 + "…'"),
    ],
)
def test_an_id_in_a_sentence_is_quoted_escaped_and_cut(id: str, shown: str) -> None:
    assert str(MessageNotFoundError(id)) == f"There is no message {shown}."


def test_a_completion_error_takes_a_code_or_its_name() -> None:
    by_code = CompletionError(ReplyErrorCode.COMPLETION_TIMEOUT, "Too slow.")
    by_name = CompletionError("COMPLETION_TIMEOUT", "Too slow.")
    assert by_code.code is by_name.code is ReplyErrorCode.COMPLETION_TIMEOUT
    assert by_code.message == str(by_code) == "Too slow."


def test_a_completion_error_with_a_code_that_there_is_not_keeps_its_sentence() -> None:
    error = CompletionError("NO_IDEA", "Sorry.")
    assert (error.code, error.message) == (ReplyErrorCode.COMPLETION_FAILED, "Sorry.")
