"""Texts of others, made fit for the log: cut, and without keys.

Providers echo keys, and clients put them into their errors. What is or looks like a secret becomes
`***`: the values of environment variables that are named like one, and what stands where keys do.
A key that has no known form and stands in the middle of a sentence is not found.
"""

import os
import re
from collections.abc import Mapping

LINE_LENGTH = 500
"""How much of a text one line of the log has, in code points."""

READ_LENGTH = 4_096
"""How much of a text is looked at for that; it may have megabytes."""

TRACEBACK_LENGTH = 32_768
"""How much of a traceback is logged: so much from either end."""

SECRET_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD")
SHORTEST_SECRET = 8

HEADERS = "_HEADERS"
"""How variables end that have headers, such as OTEL_EXPORTER_OTLP_HEADERS: `api-key=…,name=…`."""

VALUE = r"""(?: (?P<quote>\\*["']) [^"'\\\n]+ (?P=quote) | (?:\\*["'])? [^\s"',;}&\\]+ )"""
SIGN = r"""\\*["']? \s{0,9} [:=] \s{0,9}"""
PLACES = re.compile(
    rf"""
    (?P<before>
        \bauthorization {SIGN} (?: \\*["'] )? (?: (?:basic|bearer) \s+ )?
      | \bbearer \s+
      | (?:api|access|secret) [ _-]? (?:key|token) (?:\s+provided)? {SIGN}
      | (?:token|password|passwd|pwd|secret) {SIGN}
      | [?&] key =
      | \bkey \s+ (?= \\*["'] )
      | \bkey \s+ (?= [\w*.-]{{0,99}} \d) (?= [\w*.-]{{12}} )
    )
    {VALUE}
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Where there is nothing left to hide but the password, the user may be read.
IN_ADDRESSES = re.compile(r"""://(?![^/\s"'<>:@]{0,64}:\*{3}@)[^/\s"'<>]{1,512}@""")
FORMS = re.compile(
    r"\b(?: (?:sk|pk|rk|gsk|hf|xai|r8|csk|pplx|nvapi|AIza|AKIA)[-_]?[\w*.-]{8,}"
    r"| eyJ[\w-]{8,}\.[\w-]+ (?:\.[\w-]*)? )",  # The last is a token: JWT.
    re.VERBOSE,
)

# What moves a terminal's cursor, colours it, or turns the direction of what is read; and half a
# character, which few who read JSON accept.
CONTROL = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def masked(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """A text for one line of the log, cut, without what is or looks like a secret."""
    head = _head(text, READ_LENGTH, environment)
    line = " ".join(without_secrets(head, environment).split())
    if len(head) == len(text) and len(line) <= LINE_LENGTH:
        return line
    return line[: LINE_LENGTH - 1] + "…"


def masked_traceback(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """A traceback for the log, without what is or looks like a secret."""
    if len(text) > 2 * TRACEBACK_LENGTH:
        head = _head(text, TRACEBACK_LENGTH, environment)
        # From the beginning of a line on: half of a secret would not be known as one.
        tail = text[-TRACEBACK_LENGTH:].partition("\n")[2]
        text = f"{head}…\n{tail}"
    return without_secrets(text, environment)


def _head(text: str, length: int, environment: Mapping[str, str]) -> str:
    """The beginning of a text, which does not end in the middle of a secret."""
    head = text[:length]
    if len(head) == len(text):
        return head
    for value in secrets_in(environment):
        for known in range(len(value) - 1, 0, -1):
            if head.endswith(value[:known]):
                head = head[:-known]
                break
    return head


def without_secrets(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """A text, with `***` for what is or looks like a secret, and no control characters."""
    for value in secrets_in(environment):
        text = text.replace(value, "***")
    text = IN_ADDRESSES.sub("://***@", text)
    text = PLACES.sub(r"\g<before>***", text)
    text = FORMS.sub("***", text)
    return CONTROL.sub("�", text)


def looks_like_a_key(text: str) -> bool:
    """Whether a text has the form of a key, or holds one."""
    return FORMS.search(text) is not None


def is_secret(name: str) -> bool:
    """Whether a variable, or a setting, is named like a secret."""
    return name.upper().endswith(SECRET_NAMES)


def secrets_in(environment: Mapping[str, str]) -> list[str]:
    """The values that are secrets; the longest first, since one may hold another."""
    values = {value.strip() for name, value in environment.items() if is_secret(name)}
    for name, value in environment.items():
        if name.upper().endswith(HEADERS):
            values |= {each.partition("=")[2].strip() for each in value.split(",")}
    return sorted((each for each in values if len(each) >= SHORTEST_SECRET), key=len, reverse=True)
