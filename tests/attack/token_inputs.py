"""What comes in the place of a token: all of it is refused."""

import base64
import hashlib
import hmac
import json
import time

SECRET = "an attack is not worth this secret of 32 bytes and more"
"""The key of the server that these are sent to."""


def part(value: object) -> bytes:
    """A part of a token: JSON, or bytes as they are, in Base64 for URLs."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(header: object, claims: object, key: bytes = SECRET.encode()) -> bytes:
    """A token, signed with HMAC and SHA-256 whatever its header says."""
    signed = part(header) + b"." + part(claims)
    return signed + b"." + part(hmac.digest(key, signed, hashlib.sha256))


HS256 = {"alg": "HS256", "typ": "JWT"}
HOUR = 3600


def claims(**changed: object) -> dict[str, object]:
    """Those of a good token, some of them changed; `...` leaves one out."""
    fields: dict[str, object] = {"sub": "ada", "exp": int(time.time()) + HOUR, **changed}
    return {name: value for name, value in fields.items() if value is not ...}


GOOD = token(HS256, claims())

_NESTED = b'{"sub":' + b"[" * 3_000 + b"]" * 3_000 + b"}"

INPUTS: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b" \t ",
    "one letter": b"x",
    "dots": b"..",
    "3,000 dots": b"." * 3_000,
    "two parts": GOOD.rpartition(b".")[0],
    "four parts": GOOD + b".x",
    "a good one without its signature": GOOD.rpartition(b".")[0] + b".",
    "a good one with another's signature": GOOD.rpartition(b".")[0] + b"." + part(bytes(32)),
    "a good one with half its signature": GOOD[:-20],
    "a good one with one bit changed": GOOD[:-2]
    + (b"A" if GOOD[-2:-1] != b"A" else b"B")
    + GOOD[-1:],
    "another's claims under a good signature": b".".join(
        [GOOD.split(b".")[0], part(claims(sub="eve")), GOOD.split(b".")[2]]
    ),
    "a password for Basic": base64.b64encode(b"ada:secret"),
    "null": b"null",
    "undefined": b"undefined",
    "an object": b"[object Object]",
    "high bytes": b"\xff\xfe.\xfd.\xfc",
    "an escape for a terminal": b"\x1b[2J",
    "a header injection, encoded": b"x%0d%0aX-Admin:%20true",
    "SQL": b"' OR '1'='1",
    "a path": b"../../../../etc/passwd",
    "alg none": token({"alg": "none"}, claims()),
    "alg none without signature": token({"alg": "none"}, claims()).rpartition(b".")[0] + b".",
    "alg None": token({"alg": "None"}, claims()).rpartition(b".")[0] + b".",
    "alg NONE": token({"alg": "NONE"}, claims()),
    "no alg": token({"typ": "JWT"}, claims()),
    "an empty alg": token({"alg": ""}, claims()),
    "an alg that is a number": token({"alg": 256}, claims()),
    "an alg that is a list": token({"alg": ["HS256"]}, claims()),
    "an alg that is an object": token({"alg": {"HS256": 1}}, claims()),
    "an unknown alg": token({"alg": "HS257"}, claims()),
    "an alg of 5,000 letters": token({"alg": "H" * 5_000}, claims()),
    "RS256 signed with HMAC": token({"alg": "RS256"}, claims()),
    "ES256 signed with nothing": token({"alg": "ES256"}, claims()),
    "HS384 signed with SHA-256": token({"alg": "HS384"}, claims()),
    "HS256 in small letters": token({"alg": "hs256"}, claims()),
    "another key": token(HS256, claims(), b"another key that is as long as the right one is"),
    "an empty key": token(HS256, claims(), b"\0"),
    "a key of its own": token(
        {**HS256, "jwk": {"kty": "oct", "k": "c2VjcmV0"}}, claims(), b"secret"
    ),
    "a key elsewhere": token(
        {**HS256, "jku": "http://127.0.0.1:1/keys", "x5u": "file:///etc/passwd"},
        claims(),
        b"secret",
    ),
    "a key id that is a path": token({**HS256, "kid": "../../../../dev/null"}, claims(), b"\0"),
    "a key id that is SQL": token({**HS256, "kid": "x' UNION SELECT 'secret"}, claims(), b"secret"),
    "a key id that is a list": token({**HS256, "kid": ["a"]}, claims()),
    "what is critical": token({**HS256, "crit": ["b64"], "b64": False}, claims()),
    "a header that is no JSON": token(b"nonsense", claims()),
    "a header that is a list": token([], claims()),
    "a header that is null": token(None, claims()),
    "a header of lone surrogates": token(b'{"alg":"\\ud800"}', claims()),
    "a header that is not UTF-8": token(b"\xff\xfe", claims()),
    "a header of 3,000 lists": token(b"[" * 3_000, claims()),
    "claims that are no JSON": token(HS256, b"nonsense"),
    "claims that are a list": token(HS256, []),
    "claims that are null": token(HS256, None),
    "claims that are a text": token(HS256, "ada"),
    "claims that are compressed": token({**HS256, "zip": "DEF"}, b"\x78\x9c" + bytes(200)),
    "claims of 3,000 lists": token(HS256, _NESTED),
    "claims with a number of 5,000 digits": token(
        HS256, b'{"sub":"ada","exp":' + b"9" * 5_000 + b"}"
    ),
    "no sub": token(HS256, claims(sub=...)),
    "a sub that is null": token(HS256, claims(sub=None)),
    "a sub that is a number": token(HS256, claims(sub=1)),
    "a sub that is a list": token(HS256, claims(sub=["ada"])),
    "an empty sub": token(HS256, claims(sub="")),
    "a sub of blanks and breaks": token(HS256, claims(sub="ada\r\n")),
    "a sub of a null byte": token(HS256, claims(sub="ada\0")),
    "a sub of a lone surrogate": token(HS256, b'{"sub":"\\ud800","exp":99999999999}'),
    "a sub of 3,000 letters": token(HS256, claims(sub="a" * 3_000)),
    "no end": token(HS256, claims(exp=...)),
    "an end in the past": token(HS256, claims(exp=1)),
    "an end of -1": token(HS256, claims(exp=-1)),
    "an end that is a text": token(HS256, claims(exp="never")),
    "an end that is a list": token(HS256, claims(exp=[])),
    "an end that is true": token(HS256, claims(exp=True)),
    "an end of NaN": token(HS256, b'{"sub":"ada","exp":NaN}'),
    "an end of infinity": token(HS256, b'{"sub":"ada","exp":1e999}'),
    "a beginning in the future": token(HS256, claims(nbf=2**40)),
    "a beginning that is an object": token(HS256, claims(nbf={})),
    "an issue in the future": token(HS256, claims(iat=2**40)),
    "an audience": token(HS256, claims(aud="somebody else")),
    "an audience that is a number": token(HS256, claims(aud=7)),
    "five parts, encrypted": b".".join(
        [part({"alg": "dir", "enc": "A128GCM"}), b"", part(b"x"), part(b"y"), part(b"z")]
    ),
    "a token of 9,000 letters": token(HS256, claims(more="x" * 6_500)),
    "a token of 50,000 letters": b"x" * 50_000,
    "a good one, twice": GOOD + b" " + GOOD,
    "a good one, with a comma": GOOD + b", Bearer " + GOOD,
}
