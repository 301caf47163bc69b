"""What the URL of a store says."""

import re
from datetime import timedelta
from urllib.parse import unquote_plus

from graphql_app.errors import ConfigurationError

UNITS = {"": "seconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

LONGEST = timedelta(days=36_500)
HIGHEST_PORT = 65_535


def split_options(url: str, *names: str) -> tuple[str, dict[str, str]]:
    """A URL without those options of its query string that have these names, and those.

    What is left of the query string is as it was, for the driver to read.

    Raises:
        ConfigurationError: an option is given twice.
    """
    base, _, query = url.partition("?")
    options: dict[str, str] = {}
    others: list[str] = []
    for pair in filter(None, query.split("&")):
        name, _, value = map(unquote_plus, pair.partition("="))
        if name not in names:
            others.append(pair)
        elif name in options:
            raise ConfigurationError(f"store: {name} is given twice in {without_password(url)!r}.")
        else:
            options[name] = value
    return (f"{base}?{'&'.join(others)}" if others else base), options


def kept_for(options: dict[str, str]) -> timedelta | None:
    """How long replies are kept after their end, from the option `ttl`; None: for ever.

    Raises:
        ConfigurationError: it is no time, or less than a second, or more than 100 years.
    """
    text = options.get("ttl")
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    time = timedelta(**{UNITS[found[2]]: int(found[1])}) if found else timedelta()
    if not timedelta(seconds=1) <= time <= LONGEST:
        raise ConfigurationError(
            f"store: ttl must be a time from 1s to {LONGEST.days}d, such as 90s, 30m, 12h or 7d, "
            f"not {text!r}."
        )
    return time


def flag(options: dict[str, str], name: str) -> bool:
    """An option that is 1 or 0; 0 if it is not given.

    Raises:
        ConfigurationError: it is something else.
    """
    value = options.get(name, "0")
    if value not in ("0", "1"):
        raise ConfigurationError(f"store: {name} must be 1 or 0, not {value!r}.")
    return value == "1"


def port_of(text: str, url: str) -> int:
    """A port that a URL names.

    Raises:
        ConfigurationError: it is no number from 1 to 65535. It is not shown: in a URL that is not
            well-formed, it may be a piece of a password.
    """
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= HIGHEST_PORT:
        raise ConfigurationError(
            f"store: a port must be a number from 1 to {HIGHEST_PORT}, which one in "
            f"{without_password(url)!r} is not."
        )
    return int(text)


def without_password(url: str) -> str:
    """A URL as it may be shown.

    One that is not well-formed, such as with a slash or an @ in its password, shows rather too
    little than too much.
    """
    url = re.sub(r"(?i)(password\w*=)[^&]*", r"\1***", url)
    return re.sub(r"(?s)^((?>(?:[^:/?#]*://)?)[^:]*):.*@", r"\1:***@", url)
