"""Examines who may come in: tokens, and names, pages and proxies that are believed."""

import math
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from http.client import HTTPException
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from graphql_app.access.jwks import fetched, keys_from
from graphql_app.access.tokens import LEEWAY_SECONDS
from graphql_app.doctor.findings import Finding, fail, ok, warn
from graphql_app.doctor.places import is_loopback
from graphql_app.errors import ConfigurationError
from graphql_app.server import check_open
from graphql_app.settings import PREFIX, Settings

LEAST_BITS = 100
"""How many bits a secret must have at least, by how often each of its characters occurs in it.

48 random bytes in Base64 have more than 300, `change-me` 39 times more than 2, a sentence too."""

FOR_DEVELOPERS: tuple[Literal["introspection", "playground", "suggestions"], ...] = (
    "introspection",
    "playground",
    "suggestions",
)

SECRETS = (Path("chat.env"), Path("/etc/graphql-app.env"))
"""Where the composition and the unit keep secrets."""

WIDEST_PREFIX = {4: 8, 6: 16}
"""How long the prefix of a proxies' network must be, by the version of IP."""

LEAST_TOKEN_CHARACTERS = 16
"""How long a token has to be that nobody guesses."""


def examine(settings: Settings) -> Iterator[Finding]:
    """Whether strangers are kept out, and those who belong are not."""
    yield owners(settings)
    if settings.authenticates:
        yield from keys(settings)
        yield meant_for(settings)
        yield ok(
            "clock.tokens",
            f"A token is good for {LEEWAY_SECONDS:g} s more than it says, for clocks that differ.",
        )
    yield hosts(settings)
    yield origins(settings)
    yield proxies(settings)
    yield production(settings)
    yield rates(settings)
    yield metrics(settings)
    yield log(settings)
    yield secrets(SECRETS)


def _is_public(settings: Settings) -> bool:
    return not is_loopback(settings.host)


def owners(settings: Settings) -> Finding:
    """Whether everybody needs a token, or who does without."""
    if settings.authenticates:
        return ok("access.owners", "Everybody needs a token, and has conversations of their own.")
    if not _is_public(settings):
        return ok("access.owners", "No token is needed, and only this machine can come.")
    try:
        check_open(settings, "192.0.2.1")  # An address for examples: any but loopback.
    except ConfigurationError as error:
        return fail("access.owners", str(error), "docs/how-to/authenticate.md says how.")
    return warn(
        "access.owners",
        f"Whoever reaches {settings.host} needs no token, reads everything and costs money.",
        f"Set {PREFIX}JWT_SECRET, _JWT_PUBLIC_KEY or _JWT_JWKS_URL, unless somebody in front of it "
        "lets in only those who may.",
    )


def keys(settings: Settings) -> Iterator[Finding]:
    """Whether what tokens are checked with can be used, and is what nobody else has."""
    try:
        settings.tokens  # noqa: B018
    except ConfigurationError as error:
        yield fail("access.keys", str(error), "docs/how-to/authenticate.md explains each.")
        return
    if (
        settings.jwt_secret is not None
        and _bits(settings.jwt_secret.get_secret_value()) < LEAST_BITS
    ):
        yield warn(
            "access.keys",
            "The secret that signs tokens is not random: whoever guesses it is everybody.",
            "`openssl rand -base64 48` makes one; give it to whoever makes your tokens, too.",
        )
    elif settings.jwt_public_key is not None and (found := _writable(settings.jwt_public_key)):
        yield warn(
            "access.keys",
            f"Others may write {str(found)!r}, and put a key of their own there.",
            f"chmod go-w {found}",
        )
    elif settings.jwt_jwks_url is not None:
        yield _published(settings.jwt_jwks_url)
    else:
        yield ok("access.keys", "Tokens can be checked.")


def _bits(secret: str) -> float:
    """About how much there is to guess in a secret, from how often each character occurs."""
    counts = Counter(secret).values()
    return -sum(count * math.log2(count / len(secret)) for count in counts)


def _writable(given: str) -> Path | None:
    """The file of a key, if others than its owner may write it."""
    if "-----BEGIN" in given:
        return None
    path = Path(given)
    return path if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH) else None


def _published(url: str) -> Finding:
    try:
        found = keys_from(fetched(url))
    except (OSError, ValueError, HTTPException) as error:
        reason = str(error) or type(error).__name__
        return fail(
            "access.keys",
            f"The keys at {url} are not to be had: {reason}.",
            "Until they are, nobody is let in. See that this machine may go there.",
        )
    return ok("access.keys", f"{len(found)} keys at {url} can be used.")


def meant_for(settings: Settings) -> Finding:
    """Whether tokens that were made for somebody else are refused."""
    missing = [
        name
        for name, value in (("issuer", settings.jwt_issuer), ("audience", settings.jwt_audience))
        if value is None
    ]
    if settings.jwt_jwks_url is not None and missing:
        return warn(
            "access.audience",
            f"The {' and the '.join(missing)} of tokens may be anything, and whoever publishes the "
            "keys may make tokens for others, too.",
            f"Set {' and '.join(f'{PREFIX}JWT_{name.upper()}' for name in missing)}.",
        )
    return ok("access.audience", "Tokens that are meant for somebody else are refused.")


def hosts(settings: Settings) -> Finding:
    """By which names the server may be called."""
    if "*" in settings.hosts:
        return warn(
            "access.hosts",
            "Every name is taken for this server's, so a page may have its own lead here.",
            f"Set {PREFIX}HOSTS to the names by which users come, such as chat.example.com.",
        )
    if _is_public(settings) and not settings.hosts:
        return warn(
            "access.hosts",
            "No name leads here: only those come who call an address.",
            f"Set {PREFIX}HOSTS to the names by which users come, such as chat.example.com.",
        )
    names = ", ".join(("addresses", "loopback", *settings.hosts))
    return ok("access.hosts", f"It may be called by: {names}.")


def origins(settings: Settings) -> Finding:
    """Pages of which other sites may use the server in their visitors' browsers."""
    if "*" in settings.origins:
        if settings.authenticates:
            return ok(
                "access.origins", "The pages of every site may use it, with a token that they have."
            )
        return warn(
            "access.origins",
            "The pages of every site that somebody visits may use the server and read all of it.",
            f"Set {PREFIX}ORIGINS to the sites whose pages do, or to nothing.",
        )
    plain = [origin for origin in settings.origins if origin.startswith("http://")]
    if settings.production and plain:
        return warn(
            "access.origins",
            f"{', '.join(plain)} comes without encryption: whoever is in between can change it.",
            "Serve those pages over https://.",
        )
    others = f" and those of {', '.join(settings.origins)}" if settings.origins else ""
    return ok("access.origins", f"Its own pages may use it{others}.")


def proxies(settings: Settings) -> Finding:
    """Whose word is taken for who a client is."""
    wide = [
        text
        for text in settings.trusted_proxies
        if (network := ip_network(text)).prefixlen < WIDEST_PREFIX[network.version]
    ]
    if wide:
        return warn(
            "access.proxies",
            f"Whoever comes from {', '.join(wide)} is believed to be whom he says.",
            f"Set {PREFIX}TRUSTED_PROXIES to the addresses of your proxies only.",
        )
    if not settings.trusted_proxies and (settings.hosts or _is_public(settings)):
        return warn(
            "access.proxies",
            "If a proxy is in front, all clients seem to have its address, and no HTTPS.",
            f"Set {PREFIX}TRUSTED_PROXIES to the proxy's address; without a proxy, ignore this.",
        )
    trusted = ", ".join(settings.trusted_proxies) or "nobody"
    return ok("access.proxies", f"Believed about whom they bring: {trusted}.")


def production(settings: Settings) -> Finding:
    """Whether what is for developers is switched off."""
    if _is_public(settings) and not settings.production:
        return warn(
            "access.production",
            "What is for developers is on, such as introspection, suggestions and open metrics.",
            f"Set {PREFIX}PRODUCTION=true.",
        )
    shown = [name for name in FOR_DEVELOPERS if settings.allows(name)]
    if settings.production and shown:
        return warn(
            "access.production",
            f"{' and '.join(shown)} {'are' if len(shown) > 1 else 'is'} on, in production.",
            "Take that out, unless strangers shall see what the API has.",
        )
    return ok("access.production", f"production is {'on' if settings.production else 'off'}.")


def rates(settings: Settings) -> Finding:
    """Whether anybody may do anything as often as he likes."""
    unbounded = [f"max_{name}" for name, rate in asdict(settings.rates).items() if rate == 0]
    if unbounded and _is_public(settings):
        return warn(
            "access.rates",
            f"{', '.join(unbounded)}: 0, which is any number.",
            "Leave it as it usually is, or set it to what your busiest user needs.",
        )
    together = settings.store.startswith("redis")
    who = "All processes count together" if together else "Each process counts for itself"
    return ok(
        "access.rates",
        f"Sends in a minute: {settings.max_sends_per_minute or 'any number'}, by an owner or, if "
        f"no token is needed, an address. {who}.",
    )


def metrics(settings: Settings) -> Finding:
    """Who may read the counts."""
    if settings.metrics_token is not None:
        if len(settings.metrics_token.get_secret_value()) < LEAST_TOKEN_CHARACTERS:
            return warn(
                "access.metrics",
                "The token of /metrics is short, and nobody counts how often somebody guesses.",
                f"{PREFIX}METRICS_TOKEN=$(openssl rand -hex 32) makes one.",
            )
        return ok("access.metrics", "Whoever has the token may read /metrics.")
    if settings.production:
        return ok("access.metrics", "Nobody may read /metrics.")
    if _is_public(settings):
        return warn(
            "access.metrics",
            "Whoever reaches the server may read /metrics, unless a proxy hides it.",
            f"Set {PREFIX}METRICS_TOKEN, and tell it to your Prometheus.",
        )
    return ok("access.metrics", "This machine may read /metrics.")


def log(settings: Settings) -> Finding:
    """Whether the log keeps what nobody should read there."""
    if settings.log_content:
        return warn(
            "access.log",
            "The log, and traces, have what users write and are answered.",
            f"Take {PREFIX}LOG_CONTENT out, unless all who read logs may read conversations.",
        )
    return ok("access.log", "The log has nothing that users write, and owners as hashes.")


def secrets(files: Iterable[Path]) -> Finding:
    """Who may read the files of secrets, where they are."""
    told = [str(file) for file in files if file.exists() and file.stat().st_mode & stat.S_IROTH]
    if told:
        return warn(
            "access.secrets",
            f"Every user of this machine may read {' and '.join(told)}, and so be everybody.",
            f"chmod 600 {' '.join(told)}",
        )
    return ok("access.secrets", "No file of secrets lies open.")
