"""What goes wrong with a model's provider, as a code and a sentence for people.

    before the model said anything          after
    ─────────────────────────────           ─────
    network, 5xx     UNREACHABLE, retried   BROKEN_OFF
    rate limit       RATE_LIMITED, retried  RATE_LIMITED
    half a stream    BROKEN_OFF, retried    BROKEN_OFF
    garbage          FAILED                 BROKEN_OFF
    no text          FAILED                 -
    all others       their own code         their own code

Sentences hold nothing that a provider said: providers echo keys, and what the user wrote. Nor does
the log, unless it is told to; it has the classes of errors, their codes, and the traceback of what
no provider causes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pydantic_ai.exceptions import (
    AgentRunError,
    ConcurrencyLimitExceeded,
    ContentFilterError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelServerError,
    ModelUnavailableError,
    OutputTokenLimitExceeded,
    UsageLimitExceeded,
)
from pydantic_ai.messages import ModelResponse

from graphql_app.errors import CompletionError
from graphql_app.logs import content_is_shown
from graphql_app.masking import READ_LENGTH, masked
from graphql_app.messages import ReplyErrorCode


@dataclass(frozen=True, slots=True)
class Failure:
    """How a reply ends, and what could still help: trying again, after so many seconds at least."""

    code: ReplyErrorCode
    sentence: str
    is_transient: bool = False
    retry_after_seconds: float | None = None

    def error(self) -> CompletionError:
        return CompletionError(self.code, self.sentence)


UNAUTHORIZED = Failure(
    ReplyErrorCode.COMPLETION_UNAUTHORIZED,
    "The model's provider does not accept this server's key; whoever runs the server has to "
    "correct it.",
)
MODEL_NOT_FOUND = Failure(
    ReplyErrorCode.COMPLETION_MODEL_NOT_FOUND,
    "The model's provider does not know the model that this server asks for; whoever runs the "
    "server has to choose another.",
)
QUOTA_EXCEEDED = Failure(
    ReplyErrorCode.COMPLETION_QUOTA_EXCEEDED,
    "This server's account at the model's provider is used up; whoever runs the server has to "
    "renew it.",
)
RATE_LIMITED = Failure(
    ReplyErrorCode.COMPLETION_RATE_LIMITED,
    "The model's provider gets too many requests from this server; try again in a minute.",
    is_transient=True,
)
REFUSED = Failure(
    ReplyErrorCode.COMPLETION_REFUSED,
    "The model, or its provider's filter, refused to answer this.",
)
INPUT_TOO_LONG = Failure(
    ReplyErrorCode.COMPLETION_INPUT_TOO_LONG,
    "The conversation is too long for the model; begin another one.",
)
UNREACHABLE = Failure(
    ReplyErrorCode.COMPLETION_UNREACHABLE,
    "The model cannot be reached at the moment; try again.",
    is_transient=True,
)
BROKEN_OFF = Failure(
    ReplyErrorCode.COMPLETION_BROKEN_OFF,
    "The model's answer broke off before its end; try again.",
    is_transient=True,
)
TOO_LONG = Failure(
    ReplyErrorCode.REPLY_TOO_LONG,
    "The reply reached the longest length that the model allows.",
)
REJECTED = Failure(
    ReplyErrorCode.COMPLETION_FAILED,
    "The model's provider rejected the request; whoever runs the server finds the reason in its "
    "log.",
)
GARBAGE = Failure(
    ReplyErrorCode.COMPLETION_FAILED,
    "The model could not be asked, or its answer could not be read; whoever runs the server finds "
    "the reason in its log.",
)
FAILED = Failure(
    ReplyErrorCode.COMPLETION_FAILED,
    "The model's provider failed to answer; try again.",
)
SAID_NOTHING = Failure(
    ReplyErrorCode.COMPLETION_FAILED,
    "The model said nothing; try again.",
)
GAVE_UP = Failure(
    ReplyErrorCode.COMPLETION_FAILED,
    "The model did not come to an answer within its limits; try again.",
)

TRANSIENT_STATUSES = {408, 409, 425}
"""Beside 429 and 5xx: too slow, in conflict with another request, too early."""

REFUSAL_CODES = {
    "content_filter",
    "content_policy_violation",
    "invalid_prompt",
    "moderation_blocked",
    "responsibleaipolicyviolation",
    "data_inspection_failed",
}
REFUSAL_WORDS = ("content policy", "content management policy", "usage policies")

INPUT_CODES = {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"}
INPUT_WORDS = (
    "context length",
    "context size",
    "context window",
    "prompt is too long",
    "input is too long",
    "too many tokens",
)

NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
"""What a provider's name for an error looks like. A text would have spaces."""

MISCONFIGURED = {"LocalProtocolError", "UnsupportedProtocol", "InvalidURL"}
"""What an HTTP client raises about a request that cannot even be sent, by class: a key with a line
break in it, or a base URL that is none."""


def failure_of(error: Exception, *, has_begun: bool) -> Failure:
    """What a provider's error means.

    Args:
        has_begun: the model has said something, so that the rest is missing.
    """
    failure = _failure_of(error)
    if not has_begun:
        return failure
    if failure in (GARBAGE, FAILED) or failure.code is UNREACHABLE.code:
        failure = BROKEN_OFF
    return replace(failure, is_transient=False)


def _failure_of(error: Exception) -> Failure:
    match error:
        case ExceptionGroup():
            # A chain of models, of which none answered: what trying again could help goes first.
            failures = [_failure_of(each) for each in error.exceptions]
            return next((each for each in failures if each.is_transient), failures[-1])
        case ModelAuthenticationError():
            return UNAUTHORIZED
        case ModelNotFoundError():
            return MODEL_NOT_FOUND
        case ModelQuotaExceededError():
            return QUOTA_EXCEEDED
        case ContentFilterError():
            return REFUSED
        case ModelContextWindowExceededError():
            return INPUT_TOO_LONG
        case OutputTokenLimitExceeded():
            return TOO_LONG
        case UsageLimitExceeded() | ConcurrencyLimitExceeded():
            return GAVE_UP
        case ModelRateLimitError():
            return _retried(RATE_LIMITED, error)
        case ModelUnavailableError() | ModelServerError():
            return _retried(UNREACHABLE, error)
        case ModelConnectionError():
            is_ours = any(type(cause).__name__ in MISCONFIGURED for cause in _causes(error))
            return REJECTED if is_ours else UNREACHABLE
        case ModelHTTPError(status_code=status) if status in TRANSIENT_STATUSES:
            return _retried(UNREACHABLE, error)
        case ModelHTTPError(status_code=413):
            return INPUT_TOO_LONG
        case ModelAPIError():
            return _explained(error)
    return GARBAGE


def _explained(error: ModelAPIError) -> Failure:
    """What an error means that has no category, by what the provider said."""
    codes = {str(error.provider_error_code).lower(), str(error.provider_error_type).lower()}
    words = str(error)[:READ_LENGTH].lower()
    if codes & INPUT_CODES or any(each in words for each in INPUT_WORDS):
        return INPUT_TOO_LONG
    if codes & REFUSAL_CODES or any(each in words for each in REFUSAL_WORDS):
        return REFUSED
    if isinstance(error, ModelHTTPError | ModelRequestRejectedError):
        return REJECTED
    return FAILED if error.in_stream else GARBAGE


def _retried(failure: Failure, error: ModelAPIError) -> Failure:
    """A failure that passes, unless the provider says that it does not, or not so soon."""
    refuses = isinstance(error, ModelHTTPError) and error.provider_retry_hint is False
    return replace(failure, is_transient=not refuses, retry_after_seconds=error.retry_after)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__


OWN_WORD = "finish_reason"
"""Where pydantic-ai keeps what the provider itself gave as the reason of the end."""

WITHOUT_OWN_WORD = {"xai"}
"""Providers whose reason pydantic-ai translates without keeping it."""


def failure_in(response: ModelResponse, *, has_begun: bool) -> Failure | None:
    """What is wrong with a response whose stream has come to an end, if anything is."""
    failure = _failure_in(response)
    if failure is None or not has_begun:
        return failure
    return replace(BROKEN_OFF if failure is FAILED else failure, is_transient=False)


def _failure_in(response: ModelResponse) -> Failure | None:
    match response.finish_reason:
        case "content_filter":
            return REFUSED
        case "length":
            return TOO_LONG
        case "error":
            return FAILED
        case "tool_call":
            return None
    own_word = (response.provider_details or {}).get(OWN_WORD)
    # A model without an address runs in this process, and has no connection that could break.
    if own_word or response.provider_url is None:
        return None
    # Where a stream just ends, pydantic-ai takes it that the model had said everything.
    is_stand_in = response.finish_reason == "stop" and (
        response.provider_name not in WITHOUT_OWN_WORD
    )
    if is_stand_in or response.finish_reason is None or response.state == "incomplete":
        return BROKEN_OFF
    return None


def is_expected(error: BaseException) -> bool:
    """Whether an error is one that a provider or an agent's limits cause, and no defect here."""
    if isinstance(error, ExceptionGroup):
        return all(is_expected(each) for each in error.exceptions)
    return isinstance(error, AgentRunError)


def cause(error: Exception) -> str:
    """An error and what it comes from, in one line: for whoever starts the server."""
    return masked("; from ".join(dict.fromkeys(_said(error, words=True))))


def logged_cause(error: Exception) -> str:
    """The same for the log, which has a provider's words only if it may have what users write."""
    return masked("; from ".join(dict.fromkeys(_said(error, words=content_is_shown()))))


def _said(error: Exception, *, words: bool) -> Iterator[str]:
    for each in _causes(error):
        # Each by itself: the first one may have megabytes.
        said = f"{type(each).__name__}: {masked(str(each))}" if words else _named(each)
        yield said.rstrip(": ")
    if isinstance(error, ExceptionGroup):
        for each in error.exceptions:
            yield from _said(each, words=words)


def _named(error: BaseException) -> str:
    """An error's class, and the names that its provider gave it."""
    facts = {
        "status": getattr(error, "status_code", None),
        "code": getattr(error, "provider_error_code", None),
        "type": getattr(error, "provider_error_type", None),
        "errno": getattr(error, "errno", None),
    }
    known = [f"{name} {fact}" for name, fact in facts.items() if NAME.fullmatch(str(fact or ""))]
    return f"{type(error).__name__} ({', '.join(known)})" if known else type(error).__name__
