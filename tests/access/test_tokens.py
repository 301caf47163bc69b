"""Tokens: which are believed, and that all others are refused in one sentence that says no more
than their owner may know."""

import hashlib
import hmac
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from graphql_app.access.bearer import EXPIRED, MISSING, bearer, token_in
from graphql_app.access.tokens import (
    FAR_AWAY,
    LEEWAY_SECONDS,
    MOST_CHARACTERS,
    NO_OWNER,
    NOT_VALID,
    NOT_YET_VALID,
    WRONG_AUDIENCE,
    WRONG_ISSUER,
    Tokens,
    new_token,
    tokens_from,
)
from graphql_app.errors import ConfigurationError, UnauthenticatedError
from tests.tokens import (
    P256,
    P384,
    PAIRS,
    RSA,
    SECRET,
    WRONG_SECRET,
    by_hand,
    claims,
    private_pem,
    public_pem,
    token,
)


def checking(**given: Any) -> Tokens:
    tokens = tokens_from(**(given or {"secret": SECRET}))
    assert tokens is not None
    return tokens


def hs256(secret: str) -> Any:
    return lambda begin: hmac.digest(secret.encode(), begin, hashlib.sha256)


HS256 = {"alg": "HS256", "typ": "JWT"}
HUGE = 10**400


# Good ones.


@pytest.mark.parametrize(("algorithm", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
async def test_a_token_signed_with_the_secret_names_its_owner(algorithm: str, size: int) -> None:
    secret = "s" * size
    good = token("alice", key=secret, algorithm=algorithm)
    caller = await checking(secret=secret).caller(good, "192.0.2.7")
    assert (caller.owner, caller.address) == ("alice", "192.0.2.7")


@pytest.mark.parametrize(("algorithm", "size"), [("HS384", 47), ("HS512", 63)])
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_a_secret_is_not_used_where_a_longer_one_is_needed(algorithm: str, size: int) -> None:
    secret = "s" * size
    with pytest.raises(UnauthenticatedError, match=NOT_VALID):
        await checking(secret=secret).caller(token(key=secret, algorithm=algorithm))


@pytest.mark.parametrize("algorithm", PAIRS)
async def test_a_token_signed_with_the_private_key_is_believed(algorithm: str) -> None:
    key = PAIRS[algorithm]
    caller = await checking(public_key=public_pem(key)).caller(token(key=key, algorithm=algorithm))
    assert caller.owner == "alice"


async def test_a_token_ends_a_little_after_it_says() -> None:
    end = int(time.time()) + 100
    caller = await checking().caller(token(exp=end))
    assert caller.expires_at == end + LEEWAY_SECONDS
    assert not caller.is_expired


async def test_a_token_may_be_past_its_end_by_the_difference_of_two_clocks() -> None:
    caller = await checking().caller(token(exp=time.time() - LEEWAY_SECONDS / 2))
    assert caller.expires_at is not None
    assert caller.expires_at - time.time() < LEEWAY_SECONDS


@pytest.mark.parametrize("end", [2**53, 2**63, HUGE, 1e308])
async def test_an_end_beyond_all_clocks_is_far_away(end: float) -> None:
    caller = await checking().caller(token(exp=end))
    assert caller.expires_at == FAR_AWAY + LEEWAY_SECONDS


@pytest.mark.parametrize("sub", ["a", "x" * 128, "auth0|5f7c8ec7", "Jürgen 日本 😀", " "])
async def test_an_owner_may_have_any_printable_name(sub: str) -> None:
    assert (await checking().caller(token(sub))).owner == sub


async def test_issuer_and_audience_may_be_asked_for() -> None:
    tokens = checking(secret=SECRET, issuer="https://issuer", audience="chat")
    for audience in ("chat", ["other", "chat"]):
        good = token(iss="https://issuer", aud=audience)
        assert (await tokens.caller(good)).owner == "alice"


async def test_a_token_that_says_when_it_was_made_by_a_clock_that_is_ahead_is_believed() -> None:
    now = int(time.time()) + 1
    assert (await checking().caller(token(iat=now, nbf=now))).owner == "alice"


async def test_a_token_that_the_command_makes_is_believed() -> None:
    made = new_token(SECRET, "alice", 60, issuer="me", audience="chat")
    caller = await checking(secret=SECRET, issuer="me", audience="chat").caller(made)
    assert caller.owner == "alice"
    assert caller.expires_at is not None
    assert 55 < caller.expires_at - time.time() < 63


# Wrong ones.

BY_SECRET: dict[str, tuple[str | None, str]] = {
    "none": (None, MISSING),
    "empty": ("", MISSING),
    "garbage": ("garbage", NOT_VALID),
    "dots": ("..", NOT_VALID),
    "many dots": ("." * 100, NOT_VALID),
    "not base64": ("!!.??.**", NOT_VALID),
    "other letters": ("é.日.😀", NOT_VALID),
    "a lone surrogate": ("\ud800.e30.", NOT_VALID),
    "control characters": ("\0\r\n", NOT_VALID),
    "too long": (token(more="x" * MOST_CHARACTERS), NOT_VALID),
    "enormous": ("e30." * 500_000, NOT_VALID),
    "wrong key": (token(key=WRONG_SECRET), NOT_VALID),
    "cut": (token()[:-1], NOT_VALID),
    "no signature": (token().rpartition(".")[0] + ".", NOT_VALID),
    "another signature": (
        token().rpartition(".")[0] + "." + token("bob").rpartition(".")[2],
        NOT_VALID,
    ),
    "alg none": (by_hand({"alg": "none"}, claims()), NOT_VALID),
    "alg None": (by_hand({"alg": "None"}, claims()), NOT_VALID),
    "alg none, signed": (by_hand({"alg": "none"}, claims(), hs256(SECRET)), NOT_VALID),
    "no alg": (by_hand({"typ": "JWT"}, claims(), hs256(SECRET)), NOT_VALID),
    "alg is a number": (by_hand({"alg": 256}, claims(), hs256(SECRET)), NOT_VALID),
    "alg is a list": (by_hand({"alg": ["HS256"]}, claims(), hs256(SECRET)), NOT_VALID),
    "alg is null": (by_hand({"alg": None}, claims(), hs256(SECRET)), NOT_VALID),
    "alg in small letters": (by_hand({"alg": "hs256"}, claims(), hs256(SECRET)), NOT_VALID),
    "RS256": (token(key=RSA, algorithm="RS256"), NOT_VALID),
    "critical": (by_hand({**HS256, "crit": ["exp"]}, claims(), hs256(SECRET)), NOT_VALID),
    "critical and understood": (
        by_hand({**HS256, "crit": ["b64"], "b64": True}, claims(), hs256(SECRET)),
        NOT_VALID,
    ),
    "critical is null": (by_hand({**HS256, "crit": None}, claims(), hs256(SECRET)), NOT_VALID),
    "not encoded": (by_hand({**HS256, "b64": False}, claims(), hs256(SECRET)), NOT_VALID),
    "kid is a number": (by_hand({**HS256, "kid": 1}, claims(), hs256(SECRET)), NOT_VALID),
    "header is a list": (by_hand([], claims(), hs256(SECRET)), NOT_VALID),
    "header is no JSON": (by_hand(b"{", claims(), hs256(SECRET)), NOT_VALID),
    "header is nested": (by_hand(b"[" * 3_000, claims(), hs256(SECRET)), NOT_VALID),
    "payload is a list": (by_hand(HS256, [], hs256(SECRET)), NOT_VALID),
    "payload is no JSON": (by_hand(HS256, b"\xff", hs256(SECRET)), NOT_VALID),
    "payload is nested": (by_hand(HS256, b"[" * 3_000, hs256(SECRET)), NOT_VALID),
    "expired": (token(seconds=-60), EXPIRED),
    "expired long ago": (token(exp=0), EXPIRED),
    "end of the past": (token(exp=-HUGE), EXPIRED),
    "no end": (token(exp=None), NOT_VALID),
    "end is null": (by_hand(HS256, {"sub": "alice", "exp": None}, hs256(SECRET)), NOT_VALID),
    "end is a word": (token(exp="never"), NOT_VALID),
    "end is infinite": (
        by_hand(HS256, b'{"sub": "alice", "exp": 1e999}', hs256(SECRET)),
        NOT_VALID,
    ),
    "end is no number": (by_hand(HS256, b'{"sub": "alice", "exp": NaN}', hs256(SECRET)), NOT_VALID),
    "end is a number in quotes": (token(exp=str(2**40)), NOT_VALID),
    "end is a number of another script": (token(exp="٢٠٠٠٠٠٠٠٠٠٠"), NOT_VALID),
    "begin is a number in quotes": (token(nbf="1"), NOT_VALID),
    "made at a number in quotes": (token(iat="1"), NOT_VALID),
    "made at true": (token(iat=True), NOT_VALID),
    "end is a list": (token(exp=[2**40]), NOT_VALID),
    "not yet": (token(nbf=int(time.time()) + 600), NOT_YET_VALID),
    "made in the future": (token(iat=int(time.time()) + 600), NOT_YET_VALID),
    "made at a word": (token(iat="now"), NOT_VALID),
    "begin is infinite": (
        by_hand(HS256, b'{"sub": "a", "exp": 2e10, "nbf": 1e999}', hs256(SECRET)),
        NOT_VALID,
    ),
    "for others": (token(aud="another service"), WRONG_AUDIENCE),
    "no owner": (token(None), NOT_VALID),
    "owner is null": (
        by_hand(HS256, b'{"sub": null, "exp": 20000000000}', hs256(SECRET)),
        NOT_VALID,
    ),
    "owner is a number": (by_hand(HS256, claims(7), hs256(SECRET)), NOT_VALID),
    "owner is a list": (by_hand(HS256, claims(["alice"]), hs256(SECRET)), NOT_VALID),
    "owner is empty": (token(""), NO_OWNER),
    "owner is too long": (token("x" * 129), NO_OWNER),
    "owner has a line break": (token("alice\n"), NO_OWNER),
    "owner has a NUL": (token("alice\0"), NO_OWNER),
    "owner has a lone surrogate": (
        by_hand(HS256, b'{"sub": "\\ud800", "exp": 20000000000}', hs256(SECRET)),
        NO_OWNER,
    ),
}


@pytest.mark.parametrize("name", BY_SECRET)
async def test_a_wrong_token_is_refused_with_a_sentence(name: str) -> None:
    wrong, sentence = BY_SECRET[name]
    with pytest.raises(UnauthenticatedError) as refusal:
        await checking().caller(wrong)
    assert str(refusal.value) == sentence
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize("key", [RSA, P256, PAIRS["EdDSA"]], ids=["RSA", "EC", "Ed25519"])
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_nobody_can_sign_with_the_public_key_as_if_it_were_a_secret(
    key: Any, algorithm: str
) -> None:
    public = public_pem(key)
    digest = f"sha{algorithm[2:]}"
    forms = [
        public.encode(),
        public.strip().encode(),
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    ]
    for form in forms:
        forged = by_hand(
            {"alg": algorithm}, claims(), lambda begin, form=form: hmac.digest(form, begin, digest)
        )
        with pytest.raises(UnauthenticatedError, match=NOT_VALID):
            await checking(public_key=public).caller(forged)


@pytest.mark.parametrize("signed", PAIRS)
@pytest.mark.parametrize("asked", ["RS256", "ES256", "ES384", "EdDSA"])
async def test_an_algorithm_that_the_key_is_not_for_is_refused(signed: str, asked: str) -> None:
    if PAIRS[signed] is PAIRS[asked]:
        return
    with pytest.raises(UnauthenticatedError, match=NOT_VALID):
        await checking(public_key=public_pem(PAIRS[asked])).caller(
            token(key=PAIRS[signed], algorithm=signed)
        )


async def test_another_key_of_the_same_kind_is_refused() -> None:
    stranger = rsa.generate_private_key(65537, 2048)
    with pytest.raises(UnauthenticatedError, match=NOT_VALID):
        await checking(public_key=public_pem(RSA)).caller(token(key=stranger, algorithm="RS256"))


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({}, WRONG_ISSUER),
        ({"iss": "me"}, NOT_VALID),
        ({"iss": "you", "aud": "chat"}, WRONG_ISSUER),
        ({"iss": ["me"], "aud": "chat"}, WRONG_ISSUER),
        ({"iss": "me", "aud": "tchat"}, WRONG_AUDIENCE),
        ({"iss": "me", "aud": ["a", "b"]}, WRONG_AUDIENCE),
        ({"iss": "me", "aud": {"chat": 1}}, WRONG_AUDIENCE),
        ({"iss": "me", "aud": 7}, WRONG_AUDIENCE),
    ],
)
async def test_issuer_and_audience_must_be_those_that_are_asked_for(
    said: dict[str, Any], sentence: str
) -> None:
    wrong = by_hand(HS256, claims(**said), hs256(SECRET))
    with pytest.raises(UnauthenticatedError) as refusal:
        await checking(secret=SECRET, issuer="me", audience="chat").caller(wrong)
    assert str(refusal.value) in (sentence, NOT_VALID)


@pytest.mark.parametrize(
    "payload", [claims(seconds=-60), claims(nbf=2**40), claims(aud="others"), claims("")]
)
async def test_what_is_wrong_with_it_is_not_said_of_a_token_that_anybody_could_make(
    payload: dict[str, Any],
) -> None:
    with pytest.raises(UnauthenticatedError) as refusal:
        await checking().caller(by_hand(HS256, payload, hs256(WRONG_SECRET)))
    assert str(refusal.value) == NOT_VALID


@given(st.text(max_size=300) | st.builds(".".join, st.lists(st.text("eyJ0-_=A", max_size=40))))
async def test_whatever_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await checking().caller(text)


@given(st.data())
async def test_a_token_of_which_a_letter_was_changed_is_refused(data: st.DataObject) -> None:
    good = token()
    place = data.draw(st.integers(0, len(good) - 1))
    letter = data.draw(st.characters(min_codepoint=33, max_codepoint=126))
    if letter == good[place]:
        return
    with pytest.raises(UnauthenticatedError):
        await checking().caller(good[:place] + letter + good[place + 1 :])


# How tokens are brought.


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER   abc ", "abc"),
        ("Bearer", ""),
        ("Bearer ", ""),
        ("Basic abc", None),
        ("abc", None),
        ("", None),
        ("Bearerabc", None),
    ],
)
def test_a_header_carries_a_token_behind_the_word_bearer(header: str, found: str | None) -> None:
    assert bearer(header) == found


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        ({"authorization": "Bearer abc"}, "abc"),
        ({"Authorization": "bearer abc"}, "abc"),
        ({"AUTHORIZATION": "abc"}, "abc"),
        ({"else": 1, "authorization": " abc "}, "abc"),
        ({"authorization": "Basic abc"}, "Basic abc"),
        ({"authorization": "Bearer"}, "Bearer"),
        ({"authorization": ""}, ""),
        ({"authorization": None}, None),
        ({"authorization": ["Bearer abc"]}, None),
        ({"authorization": "abc", "Authorization": "def"}, None),
        ({"token": "abc"}, None),
        ({}, None),
    ],
)
def test_connection_init_carries_a_token_with_or_without_that_word(
    payload: dict[str, object], found: str | None
) -> None:
    assert token_in(payload) == found


# Settings.


def test_without_a_key_nobody_needs_a_token() -> None:
    assert tokens_from() is None


FORGOTTEN = "give it a value, or do not set it."
ANOTHER_CURVE = ec.generate_private_key(ec.SECP256K1())
ED448 = (
    ed448.Ed448PrivateKey.generate()
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"secret": ""}, f"jwt_secret: it is empty; {FORGOTTEN}"),
        ({"public_key": ""}, f"jwt_public_key: it is empty; {FORGOTTEN}"),
        ({"jwks_url": ""}, f"jwt_jwks_url: it is empty; {FORGOTTEN}"),
        ({"secret": SECRET, "issuer": ""}, f"jwt_issuer: it is empty; {FORGOTTEN}"),
        (
            {"issuer": "me"},
            "jwt_issuer: it goes with one of jwt_secret, jwt_public_key, jwt_jwks_url.",
        ),
        (
            {"audience": "me"},
            "jwt_audience: it goes with one of jwt_secret, jwt_public_key, jwt_jwks_url.",
        ),
        (
            {"secret": SECRET, "public_key": public_pem(RSA)},
            "jwt_secret and jwt_public_key: give one of them, not several.",
        ),
        (
            {"secret": "x" * 31},
            "jwt_secret: it has 31 bytes and needs at least 32; `openssl rand -base64 48` makes "
            "one.",
        ),
        (
            {"secret": public_pem(RSA)},
            "jwt_secret: this is a key in PEM; give the public key as jwt_public_key.",
        ),
        (
            {"public_key": private_pem(P256)},
            "jwt_public_key: this is a private key; keep it where tokens are made, and give the "
            "public one (openssl pkey -in FILE -pubout).",
        ),
        (
            {"public_key": "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----"},
            "jwt_public_key: this is a certificate; give its public key "
            "(openssl x509 -in FILE -noout -pubkey).",
        ),
        (
            {"public_key": "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----"},
            "jwt_public_key: this is no public key in PEM (-----BEGIN PUBLIC KEY-----).",
        ),
        (
            {"public_key": "MIIBIjANBgkqhkiG9w0BAQ"},
            "jwt_public_key: it is neither a key in PEM (-----BEGIN PUBLIC KEY-----) nor a file "
            "that can be read: No such file or directory.",
        ),
        (
            {"public_key": public_pem(rsa.generate_private_key(65537, 1024))},
            "jwt_public_key: this is an RSA key of 1024 bits; it needs 2,048.",
        ),
        (
            {"public_key": public_pem(ANOTHER_CURVE)},
            "jwt_public_key: this is a key on the curve secp256k1; it may be on secp256r1, "
            "secp384r1, secp521r1.",
        ),
        (
            {"public_key": ED448},
            "jwt_public_key: this is a key of another kind than RSA, EC and Ed25519.",
        ),
        (
            {"jwks_url": "http://issuer/keys"},
            "jwt_jwks_url: it must begin with https://, or with http:// on loopback.",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_its_name(
    given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        tokens_from(**given)
    assert str(refusal.value) == sentence


async def test_the_public_key_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text(public_pem(P384))
    caller = await checking(public_key=str(file)).caller(token(key=P384, algorithm="ES384"))
    assert caller.owner == "alice"


async def test_the_lines_of_the_public_key_may_be_written_as_in_a_string() -> None:
    escaped = public_pem(P256).replace("\n", "\\n")
    caller = await checking(public_key=escaped).caller(token(key=P256, algorithm="ES256"))
    assert caller.owner == "alice"


def test_a_file_with_a_private_key_is_refused_too(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text(private_pem(RSA))
    with pytest.raises(ConfigurationError, match="this is a private key"):
        tokens_from(public_key=str(file))


def test_a_weak_secret_makes_no_tokens() -> None:
    with pytest.raises(ConfigurationError, match="needs at least 32"):
        new_token("weak", "alice", 60)


def test_the_command_says_nothing_in_a_token_that_was_not_asked_for() -> None:
    said = jwt.decode(
        new_token(SECRET, "alice", 60, now=1_000), options={"verify_signature": False}
    )
    assert said == {"sub": "alice", "iat": 1_000, "exp": 1_060}
