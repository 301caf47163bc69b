"""Keys that tokens are checked with, and what each kind of key may be used for.

A token says by itself with which algorithm it was signed; it is believed only if that is one of
the key's own. So nobody can sign with a public key as if it were a secret (RFC 8725, 2.1 and 3.1).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from graphql_app.errors import ConfigurationError

SECRET_ALGORITHMS = {"HS256": 32, "HS384": 48, "HS512": 64}
"""With the bytes that a secret needs for each. A shorter one could be guessed from any token, or is
less than what the algorithm promises (RFC 7518, 3.2)."""

RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVE_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

SMALLEST_RSA_BITS = 2_048
"""RFC 7518, 3.3."""

MORE_THAN_A_KEY = 65_536
"""The most characters that are read of a file that should hold a key."""

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


class UnfitKeyError(Exception):
    """A key that tokens cannot be checked with; the words say what it is."""


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """A key, and the algorithms that it may be used with."""

    value: PublicKey | bytes
    algorithms: tuple[str, ...]


class Keys(Protocol):
    """Where the key of a token is found."""

    async def find(self, id: str | None, algorithm: str) -> Key | None:
        """The key that a token names, for the algorithm that it names; None if there is none.

        Raises:
            KeysUnavailableError: nobody can say at the moment.
        """

    def begin(self) -> None:
        """Gets ready, without waiting for anything; runs in the loop."""


class OneKey:
    """The only key, whatever a token may call it."""

    def __init__(self, key: Key) -> None:
        self._key = key

    async def find(self, id: str | None, algorithm: str) -> Key | None:
        return self._key if algorithm in self._key.algorithms else None

    def begin(self) -> None:
        pass


def fit(key: object) -> Key:
    """A key of one of the kinds that tokens are checked with.

    Raises:
        UnfitKeyError: it is of no such kind, or too weak.
    """
    match key:
        case RSAPublicKey():
            if key.key_size < SMALLEST_RSA_BITS:
                raise UnfitKeyError(
                    f"an RSA key of {key.key_size} bits; it needs {SMALLEST_RSA_BITS:,}"
                )
            return Key(key, RSA_ALGORITHMS)
        case EllipticCurvePublicKey():
            algorithm = CURVE_ALGORITHMS.get(key.curve.name)
            if algorithm is None:
                raise UnfitKeyError(
                    f"a key on the curve {key.curve.name}; it may be on "
                    f"{', '.join(CURVE_ALGORITHMS)}"
                )
            return Key(key, (algorithm,))
        case Ed25519PublicKey():
            return Key(key, ("EdDSA",))
        case _:
            raise UnfitKeyError("a key of another kind than RSA, EC and Ed25519")


def key_from_secret(secret: str) -> Key:
    """The key that `jwt_secret` is.

    Raises:
        ConfigurationError: it is weak, or no secret.
    """
    if "-----BEGIN" in secret:
        raise ConfigurationError(
            "jwt_secret: this is a key in PEM; give the public key as jwt_public_key."
        )
    value = secret.encode()
    fitting = tuple(name for name, least in SECRET_ALGORITHMS.items() if len(value) >= least)
    if not fitting:
        raise ConfigurationError(
            f"jwt_secret: it has {len(value)} bytes and needs at least "
            f"{min(SECRET_ALGORITHMS.values())}; `openssl rand -base64 48` makes one."
        )
    return Key(value, fitting)


def key_from_pem(given: str) -> Key:
    """The key that `jwt_public_key` is, a text in PEM or the path of a file with one.

    Raises:
        ConfigurationError: it cannot be read, or is no public key. What was given is not said: it
            may be something that must stay secret.
    """
    text = given if "-----BEGIN" in given else _content(given)
    # Variables in files, and in many a console, have no lines.
    text = text.replace("\\n", "\n")
    if "PRIVATE KEY-----" in text:
        raise ConfigurationError(
            "jwt_public_key: this is a private key; keep it where tokens are made, and give the "
            "public one (openssl pkey -in FILE -pubout)."
        )
    if "-----BEGIN CERTIFICATE-----" in text:
        raise ConfigurationError(
            "jwt_public_key: this is a certificate; give its public key "
            "(openssl x509 -in FILE -noout -pubkey)."
        )
    try:
        key: object = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError(
            "jwt_public_key: this is no public key in PEM (-----BEGIN PUBLIC KEY-----)."
        ) from None
    try:
        return fit(key)
    except UnfitKeyError as error:
        raise ConfigurationError(f"jwt_public_key: this is {error}.") from None


def _content(path: str) -> str:
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.read(MORE_THAN_A_KEY)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigurationError(
            "jwt_public_key: it is neither a key in PEM (-----BEGIN PUBLIC KEY-----) nor a file "
            f"that can be read: {reason}."
        ) from None
