"""Why a connection failed, and whether another attempt makes sense."""

import ssl
from collections.abc import Iterator

from gql.transport.exceptions import TransportProtocolError, TransportServerError
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)
from websockets.frames import Close

FINAL_CLOSE_CODES = frozenset({1009, 4400, 4401, 4403, 4406, 4409, 4429})
"""Close codes after which the same thing would only be refused again.

4403 is one while the token is the same: a new attempt would be refused the same way.
"""

REFUSED_TOKEN = 4403

FIRST_PRIVATE_CODE = 4000
"""RFC 6455, 7.4.2: what codes from here on mean is only said by their reasons."""

RETRIED_HTTP_STATUSES = frozenset({408, 425, 429})
"""Refused handshakes that may go well later, besides all of 500 and above."""


def refusal_in(failure: BaseException) -> str | None:
    """Why it is of no use to connect again; None if it may be."""
    for cause in _causes(failure):
        match cause:
            case ConnectionClosed():
                close = cause.rcvd or cause.sent
                return _said(close) if close and close.code in FINAL_CLOSE_CODES else None
            case InvalidStatus():
                status = cause.response.status_code
                is_retried = status >= 500 or status in RETRIED_HTTP_STATUSES
                return None if is_retried else f"HTTP {status}"
            case InvalidMessage() | ProxyError():
                return None
            case InvalidHandshake() | InvalidURI() | ssl.SSLCertVerificationError():
                return str(cause)
            case TransportProtocolError():
                return "it does not speak graphql-transport-ws"
    return None


def is_refused_token(failure: BaseException) -> bool:
    """Whether the connection was closed because of its token, which may have expired."""
    return any(
        isinstance(cause, ConnectionClosed)
        and cause.rcvd is not None
        and cause.rcvd.code == REFUSED_TOKEN
        for cause in _causes(failure)
    )


def reason_of(failure: BaseException) -> str:
    """Why a connection ended, or was not made, in a few words."""
    for cause in _causes(failure):
        match cause:
            case ConnectionClosed() if cause.rcvd is not None:
                return f"closed by the server with {_said(cause.rcvd)}"
            case InvalidStatus():
                return f"HTTP {cause.response.status_code}"
            case TransportServerError() | TimeoutError():
                return "no sign of life"
            case ConnectionRefusedError():
                return "connection refused"
            case OSError():
                return cause.strerror or str(cause)
    return "cut"


def _said(close: Close) -> str:
    """A close code, and why, to stand in a sentence."""
    if close.code < FIRST_PRIVATE_CODE or not close.reason:
        return str(close)
    return f"{close.code} ({close.reason.removesuffix('.')})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
