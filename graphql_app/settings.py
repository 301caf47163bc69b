"""The settings: read once from the environment and the command line, checked, frozen."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import unquote

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from graphql_app.access.hosts import ANY, read_host
from graphql_app.access.origins import read_origin
from graphql_app.access.proxies import read_network
from graphql_app.access.quotas import Rates
from graphql_app.errors import ConfigurationError
from graphql_app.limits import Limits
from graphql_app.patience import Patience

if TYPE_CHECKING:
    from graphql_app.access.tokens import Tokens

PREFIX = "GRAPHQL_APP_"

SECRETS = frozenset(
    {"jwt_secret", "jwt_public_key", "log_owner_key", "metrics_token", "store", "system_prompt"}
)
"""Settings whose values no error says."""

DEFAULTS = Limits()
PATIENCE = Patience()
RATES = Rates()

ENTRY = "entry"
"""The type of an error whose sentence names the entry of a list that is wrong."""
PASSWORD = re.compile(r"://[^:/@]*:([^/]+)@")

Count = Annotated[int, Ge(1)]
Rate = Annotated[int, Ge(0)]
"""0: without limit."""
Seconds = Annotated[float, Gt(0), Le(86_400)]


def _entries(value: object) -> object:
    """A list as it stands in a variable: between commas."""
    if isinstance(value, str):
        return tuple(entry for entry in map(str.strip, value.split(",")) if entry)
    return value


def _each(read: Callable[[str], str]) -> AfterValidator:
    """Checks a list's entries with a function that raises ValueError with a sentence."""

    def check(entries: Iterable[str]) -> tuple[str, ...]:
        try:
            return tuple(map(read, entries))
        except ValueError as error:
            raise PydanticCustomError(ENTRY, "{reason}", {"reason": str(error)}) from error

    return AfterValidator(check)


def _given(value: SecretStr) -> SecretStr:
    """A secret. Whoever set it wants one; an empty one would be everybody's."""
    if not value.get_secret_value().strip():
        raise PydanticCustomError(ENTRY, "it is empty; give it a value, or do not set it")
    return value


def _as_header(value: SecretStr) -> SecretStr:
    if not re.fullmatch("[!-~]*", value.get_secret_value()):
        raise PydanticCustomError(ENTRY, "a header carries letters, digits and signs, no blanks")
    return value


Secret = Annotated[SecretStr, AfterValidator(_given)]

Entries = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_entries)]


class Settings(BaseSettings):
    """Every setting, its default and its limits. `GRAPHQL_APP_` and the name set it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", allow_inf_nan=False
    )

    host: Annotated[str, MinLen(1)] = "127.0.0.1"
    port: Annotated[int, Ge(0), Le(65_535)] = 3000
    workers: Count = 1
    open: bool = False
    production: bool = False
    introspection: bool | None = None
    playground: bool | None = None
    suggestions: bool | None = None
    trusted_documents: str = ""
    origins: Annotated[Entries, _each(read_origin)] = ()
    hosts: Annotated[Entries, _each(read_host)] = ()
    trusted_proxies: Annotated[Entries, _each(read_network)] = ()
    jwt_secret: SecretStr | None = None
    # It is no secret, but who knows what is put there.
    jwt_public_key: Annotated[str | None, Field(repr=False)] = None
    jwt_jwks_url: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    log_format: Literal["human", "json"] = "human"
    log_operations: bool = True
    log_content: bool = False
    log_owner_key: Secret | None = None
    metrics_token: Annotated[Secret, AfterValidator(_as_header)] | None = None
    otel: bool = False
    store: str = "memory://"
    completion: str = "simulated"
    word_delay: Annotated[float, Ge(0), Le(60)] = 0.05
    system_prompt: str = ""
    system_prompt_file: str = ""
    max_history_messages: Annotated[int, Ge(0)] = 0
    max_history_tokens: Annotated[int, Ge(0)] = 0
    drain_seconds: Annotated[float, Ge(0), Le(3_600)] = 20.0
    notice_seconds: Annotated[float, Ge(0), Le(3_600)] = 1.0
    lease_seconds: Annotated[float, Ge(1), Le(3_600)] = 10.0

    max_content_length: Count = DEFAULTS.content_length
    # Our own ids have 32 characters; an index of PostgreSQL has no room for much longer ones.
    max_id_length: Annotated[int, Ge(32), Le(512)] = DEFAULTS.id_length
    max_reply_length: Count = DEFAULTS.reply_length
    # The schema says that lists have at most 1,000 entries.
    max_list_size: Annotated[int, Ge(1), Le(1_000)] = DEFAULTS.list_size
    max_replies: Count = DEFAULTS.replies
    max_replies_per_owner: Count = 20
    # A model that thinks gives a sign of life a few times a second.
    completion_timeout_seconds: Annotated[float, Ge(1), Le(86_400)] = DEFAULTS.silence_seconds

    max_message_bytes: Annotated[int, Ge(1_024)] = 2 * 1024 * 1024
    max_connections: Count = PATIENCE.connections
    max_sockets: Count = 10_000
    max_operations_per_socket: Count = 100
    connection_init_seconds: Seconds = 10.0
    request_seconds: Seconds = PATIENCE.request_seconds
    unread_seconds: Seconds = PATIENCE.unread_seconds
    deflate: bool = False

    max_sends_per_minute: Rate = RATES.sends_per_minute
    max_requests_per_minute: Rate = RATES.requests_per_minute
    max_sockets_per_owner: Rate = RATES.sockets_per_owner
    max_sockets_per_address: Rate = RATES.sockets_per_address
    max_messages_per_second: Rate = RATES.messages_per_second
    max_log_lines_per_second: Rate = 200

    @property
    def rates(self) -> Rates:
        return Rates(
            sends_per_minute=self.max_sends_per_minute,
            requests_per_minute=self.max_requests_per_minute,
            sockets_per_owner=self.max_sockets_per_owner,
            sockets_per_address=self.max_sockets_per_address,
            messages_per_second=self.max_messages_per_second,
        )

    def allows(self, switch: Literal["introspection", "playground", "suggestions"]) -> bool:
        """Whether something for developers is there: as it is set, or else unless in production."""
        chosen: bool | None = getattr(self, switch)
        return not self.production if chosen is None else chosen

    @property
    def authenticates(self) -> bool:
        """Whether everybody needs a token."""
        return (self.jwt_secret, self.jwt_public_key, self.jwt_jwks_url) != (None, None, None)

    @property
    def tokens(self) -> "Tokens | None":
        """What checks tokens; None if nobody needs one.

        Raises:
            ConfigurationError: it cannot be what the settings say.
        """
        if not (self.authenticates or self.jwt_issuer is not None or self.jwt_audience is not None):
            return None
        from graphql_app.access.tokens import tokens_from  # With all that checks signatures.

        return tokens_from(
            secret=None if self.jwt_secret is None else self.jwt_secret.get_secret_value(),
            public_key=self.jwt_public_key,
            jwks_url=self.jwt_jwks_url,
            issuer=self.jwt_issuer,
            audience=self.jwt_audience,
            owner_length=self.max_id_length,
        )

    @property
    def shown_log_format(self) -> Literal["human", "json"]:
        """The format of the log: JSON in production, unless it is said."""
        is_said = "log_format" in self.model_fields_set
        return "json" if self.production and not is_said else self.log_format

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must be shown nowhere: settings that are named like a secret, and passwords."""
        named = [value.get_secret_value() for _, value in self if isinstance(value, SecretStr)]
        password = PASSWORD.search(self.store)
        return (*named, *({password[1], unquote(password[1])} if password else ()))

    @property
    def limits(self) -> Limits:
        return Limits(
            content_length=self.max_content_length,
            id_length=self.max_id_length,
            reply_length=self.max_reply_length,
            silence_seconds=self.completion_timeout_seconds,
            list_size=self.max_list_size,
            replies=self.max_replies,
            # Without tokens, all are one owner.
            replies_per_owner=self.max_replies_per_owner if self.authenticates else None,
        )

    @property
    def patience(self) -> Patience:
        return Patience(
            request_seconds=self.request_seconds,
            unread_seconds=self.unread_seconds,
            connections=self.max_connections,
        )


def _check_origins(settings: Settings) -> None:
    if ANY in settings.origins and not (settings.open or settings.authenticates):
        raise ConfigurationError(
            "origins: * lets every page that somebody visits use the server, and read its answers. "
            "Name the origins, have everybody need a token, or say that the server is open."
        )


def _with_system_prompt(settings: Settings) -> Settings:
    """The settings, with what the file of the system prompt says."""
    file = settings.system_prompt_file
    if not file:
        return settings
    if settings.system_prompt:
        raise ConfigurationError(
            "system_prompt and system_prompt_file: give one of them, not both."
        )
    try:
        text = Path(file).read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"system_prompt_file: {file!r} is not UTF-8.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"system_prompt_file: {file!r} cannot be read: {reason}."
        ) from error
    if not text:
        raise ConfigurationError(f"system_prompt_file: {file!r} is empty.")
    return settings.model_copy(update={"system_prompt": text})


def read_settings(given: Mapping[str, Any] | None = None) -> Settings:
    """The settings from the command line, then the environment, then the defaults.

    The file of the system prompt is read here; `system_prompt` is what it says.

    Args:
        given: by field name; None means not given.

    Raises:
        ConfigurationError: names each setting that is wrong, or unknown, and what is allowed.
    """
    # The last two are for `graphql-app chat`.
    known = {PREFIX + name.upper() for name in (*Settings.model_fields, "url", "token")}
    unknown = sorted(
        name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known
    )
    if unknown:
        raise ConfigurationError(
            f"{', '.join(unknown)}: no such setting; there are {', '.join(sorted(known))}."
        )
    try:
        settings = Settings(
            **{name: value for name, value in (given or {}).items() if value is not None}
        )
    except ValidationError as error:
        raise ConfigurationError(
            "\n".join(
                f"{name}: {item['msg']}"
                + ("." if item["type"] == ENTRY or name in SECRETS else f", not {item['input']!r}.")
                for item in error.errors()
                for name in [".".join(map(str, item["loc"]))]
            )
        ) from error
    _check_origins(settings)
    return _with_system_prompt(settings)
