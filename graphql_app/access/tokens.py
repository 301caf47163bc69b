"""Tokens: whom one names, if it can be believed.

Sources: RFC 7519; RFC 8725 on how not to be fooled; RFC 6750 on how they are brought.
"""

import time
from typing import Any

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    PyJWTError,
)

from graphql_app.access.bearer import EXPIRED, MISSING
from graphql_app.access.caller import Caller
from graphql_app.access.jwks import KeySet
from graphql_app.access.keys import Key, Keys, OneKey, key_from_pem, key_from_secret
from graphql_app.errors import ConfigurationError, UnauthenticatedError

MOST_CHARACTERS = 8_192
"""The longest token. Proxies take headers up to 8 KB; what is longer costs time to check."""

LEEWAY_SECONDS = 2.0
"""How far the clock of whoever makes tokens may be from ours. A token is good for so much longer
than it says, and so are the sockets and streams that it opened."""

FAR_AWAY = 2.0**40
"""An end of a token, in seconds since 1970, that nobody will see: some write more than a clock can
count, or a timer."""

TIMES = ("exp", "nbf", "iat")

NOT_VALID = "The token is not valid."
NOT_YET_VALID = "The token is not valid yet."
WRONG_ISSUER = "The token is from another issuer."
WRONG_AUDIENCE = "The token is for another audience."
NO_OWNER = "The token has no sub that names an owner."


class Tokens:
    """Checks tokens.

    Args:
        keys: with which they were signed.
        issuer, audience: what they must say; None: the issuer may be anybody who has the key, and
            a token must not be meant for anybody in particular.
        owner_length: the longest `sub`, in code points.
    """

    def __init__(
        self, keys: Keys, *, issuer: str | None, audience: str | None, owner_length: int
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._owner_length = owner_length

    def begin(self) -> None:
        """Gets ready, without waiting for anything; runs in the loop."""
        self._keys.begin()

    async def caller(self, token: str | None, address: str = "") -> Caller:
        """Who comes with a token.

        Why a token was refused is said only to somebody who has one that was signed for us.

        Raises:
            UnauthenticatedError: it is missing, wrong or over.
            KeysUnavailableError: nobody can say at the moment.
        """
        if not token:
            raise UnauthenticatedError(MISSING)
        algorithm, key_id = _header(token)
        key = await self._keys.find(key_id, algorithm)
        if key is None:
            raise UnauthenticatedError(NOT_VALID)
        claims = self._claims(token, key)
        owner = claims["sub"]
        if not 1 <= len(owner) <= self._owner_length or not owner.isprintable():
            raise UnauthenticatedError(NO_OWNER)
        return Caller(owner, address, min(int(claims["exp"]), FAR_AWAY) + LEEWAY_SECONDS)

    def _claims(self, token: str, key: Key) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.value,
                algorithms=key.algorithms,
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "sub"]},
            )
        except ExpiredSignatureError:
            raise UnauthenticatedError(EXPIRED) from None
        except ImmatureSignatureError:
            raise UnauthenticatedError(NOT_YET_VALID) from None
        except InvalidIssuerError:
            raise UnauthenticatedError(WRONG_ISSUER) from None
        except InvalidAudienceError:
            raise UnauthenticatedError(WRONG_AUDIENCE) from None
        except (PyJWTError, ValueError, TypeError, OverflowError):
            raise UnauthenticatedError(NOT_VALID) from None
        # The library takes for a time whatever Python can make a number of: RFC 7519, 2.
        if any(type(claims[name]) not in (int, float) for name in TIMES if name in claims):
            raise UnauthenticatedError(NOT_VALID)
        return claims


def _header(token: str) -> tuple[str, str | None]:
    """The algorithm and the key that a token names; nobody has checked yet whether it may."""
    if len(token) > MOST_CHARACTERS:
        raise UnauthenticatedError(NOT_VALID)
    try:
        header = jwt.get_unverified_header(token)
    except (PyJWTError, ValueError, TypeError):
        raise UnauthenticatedError(NOT_VALID) from None
    algorithm, key_id = header.get("alg"), header.get("kid")
    # What is critical in a token has to be understood, and we understand nothing of that kind.
    if not isinstance(algorithm, str) or not isinstance(key_id, str | None) or "crit" in header:
        raise UnauthenticatedError(NOT_VALID)
    return algorithm, key_id


def tokens_from(
    *,
    secret: str | None = None,
    public_key: str | None = None,
    jwks_url: str | None = None,
    issuer: str | None = None,
    audience: str | None = None,
    owner_length: int = 128,
) -> Tokens | None:
    """What checks tokens as the settings `jwt_…` say; None if they say that nobody needs one.

    Raises:
        ConfigurationError: it cannot be what they say.
    """
    given = {"jwt_secret": secret, "jwt_public_key": public_key, "jwt_jwks_url": jwks_url}
    ways = [name for name, value in given.items() if value is not None]
    further = {"jwt_issuer": issuer, "jwt_audience": audience}
    for name, value in (given | further).items():
        if value == "":
            # Whoever set it does not want an open server.
            raise ConfigurationError(f"{name}: it is empty; give it a value, or do not set it.")
        if value is not None and not ways:
            raise ConfigurationError(f"{name}: it goes with one of {', '.join(given)}.")
    if len(ways) > 1:
        raise ConfigurationError(f"{' and '.join(ways)}: give one of them, not several.")
    keys: Keys
    if secret is not None:
        keys = OneKey(key_from_secret(secret))
    elif public_key is not None:
        keys = OneKey(key_from_pem(public_key))
    elif jwks_url is not None:
        keys = KeySet(jwks_url)
    else:
        return None
    return Tokens(keys, issuer=issuer, audience=audience, owner_length=owner_length)


def new_token(
    secret: str,
    owner: str,
    seconds: float,
    *,
    issuer: str | None = None,
    audience: str | None = None,
    now: float | None = None,
) -> str:
    """A token for an owner, signed with a secret, as `graphql-app token` makes it.

    Raises:
        ConfigurationError: the secret is weak.
    """
    key = key_from_secret(secret)
    assert isinstance(key.value, bytes)
    begin = time.time() if now is None else now
    claims: dict[str, Any] = {"sub": owner, "iat": int(begin), "exp": int(begin + seconds)}
    if issuer is not None:
        claims["iss"] = issuer
    if audience is not None:
        claims["aud"] = audience
    return jwt.encode(claims, key.value, algorithm="HS256")
