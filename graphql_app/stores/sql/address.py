"""What the URL of a PostgreSQL store says."""

import re
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from graphql_app.errors import ConfigurationError
from graphql_app.stores.urls import kept_for, port_of, split_options, without_password

OURS = ("ttl", "connect_timeout", "application_name")

DRIVERS = (
    "host",
    "port",
    "user",
    "password",
    "passfile",
    "dbname",
    "database",
    "service",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcrl",
    "sslnegotiation",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "target_session_attrs",
    "krbsrvname",
    "gsslib",
)
"""Options of libpq that the driver takes from a URL."""

SERVERS = ("options", "search_path")
"""Options that the driver hands on to the server; it would do so with everything."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store is, as the driver takes it, and what else its URL says."""

    dsn: str
    keep: timedelta | None
    connect_seconds: int | None
    application_name: str | None


def read_url(url: str) -> Address:
    """Where the store for `postgresql://user:password@host:port/database` is.

    Takes the options `ttl`, how long replies are kept, `connect_timeout` in seconds, and those of
    libpq: `sslmode`, several hosts with `target_session_attrs`, and so on.

    Raises:
        ConfigurationError: the URL says something else.
    """
    dsn, options = split_options(url, *OURS)
    try:
        parts = urlsplit(dsn)
        others = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise not_understood(url) from None
    # A password with a slash and the like ends up in the wrong place, with the @ behind it.
    if dsn.count("@") != ("@" in parts.netloc):
        raise not_understood(url)
    for name in others:
        if name not in DRIVERS + SERVERS:
            raise ConfigurationError(
                f"store: {name} is no option of {parts.scheme}://, "
                f"which takes {', '.join(OURS + DRIVERS + SERVERS)}."
            )
    for port in _ports(parts, others):
        port_of(port, url)
    return Address(
        dsn, kept_for(options), _connect_seconds(options), options.get("application_name")
    )


def not_understood(url: str) -> ConfigurationError:
    return ConfigurationError(
        f"store: {without_password(url)!r} is not understood; in a user and a password, write "
        "%2F for /, %23 for #, %3F for ? and %40 for @."
    )


def _ports(parts: SplitResult, options: dict[str, list[str]]) -> list[str]:
    hosts = [unquote(parts.netloc.rpartition("@")[2]), *options.get("host", [])]
    ports = [_port_behind(host) for each in hosts for host in each.split(",")]
    ports += [port for each in options.get("port", []) for port in each.split(",")]
    return [port for port in ports if port]


def _port_behind(host: str) -> str:
    """The port in `host:port`, `[::1]:port`; none in a folder, which has a Unix socket."""
    if host.startswith("/"):
        return ""
    behind = host.rpartition("]")[2] if host.startswith("[") else host
    return behind.partition(":")[2]


def _connect_seconds(options: dict[str, str]) -> int | None:
    text = options.get("connect_timeout")
    if text is not None and not re.fullmatch(r"0*[1-9][0-9]{0,5}", text):
        raise ConfigurationError(
            f"store: connect_timeout must be a whole number of seconds from 1 on, not {text!r}."
        )
    return None if text is None else int(text)
