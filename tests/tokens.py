"""Tokens for tests: keys of every kind, good tokens, and the wrong ones that are tried."""

import base64
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

SECRET = "a secret of more than 32 bytes, for tests only"
WRONG_SECRET = "a secret of more than 32 bytes, of somebody else"

RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
P521 = ec.generate_private_key(ec.SECP521R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

PAIRS: dict[str, PrivateKey] = {
    **{f"{family}{bits}": RSA for family in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": P256,
    "ES384": P384,
    "ES512": P521,
    "EdDSA": ED25519,
}
"""A private key for each algorithm that has one."""


def public_pem(key: PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key: PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def jwk(key: PrivateKey, **more: Any) -> dict[str, Any]:
    """The public half, as a set of keys has it."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        return {**RSAAlgorithm.to_jwk(public, as_dict=True), **more}
    if isinstance(public, ec.EllipticCurvePublicKey):
        return {**ECAlgorithm.to_jwk(public, as_dict=True), **more}
    return {**OKPAlgorithm.to_jwk(public, as_dict=True), **more}


def claims(sub: object = "alice", seconds: float = 3_600, **more: Any) -> dict[str, Any]:
    """What a token says; None leaves something out."""
    said = {"sub": sub, "exp": int(time.time() + seconds), **more}
    return {name: value for name, value in said.items() if value is not None}


def token(
    sub: object = "alice",
    seconds: float = 3_600,
    *,
    key: Any = SECRET,
    algorithm: str = "HS256",
    headers: dict[str, Any] | None = None,
    **more: Any,
) -> str:
    return jwt.encode(claims(sub, seconds, **more), key, algorithm, headers)


def by_hand(header: object, payload: object, sign: Any = lambda _: b"") -> str:
    """A token that no library makes.

    Args:
        sign: the signature of what stands before it.
    """
    parts = [
        value if isinstance(value, bytes) else json.dumps(value).encode()
        for value in (header, payload)
    ]
    begin = b".".join(map(encoded, parts))
    return b".".join([begin, encoded(sign(begin))]).decode()


def encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
