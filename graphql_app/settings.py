"""The settings: read once from the environment and the command line, checked, frozen."""

import os
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from graphql_app.errors import ConfigurationError
from graphql_app.limits import Limits

PREFIX = "GRAPHQL_APP_"

DEFAULTS = Limits()

Count = Annotated[int, Ge(1)]
Seconds = Annotated[float, Gt(0), Le(86_400)]


class Settings(BaseSettings):
    """Every setting, its default and its limits. `GRAPHQL_APP_` and the name set it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", allow_inf_nan=False
    )

    host: Annotated[str, MinLen(1)] = "127.0.0.1"
    port: Annotated[int, Ge(0), Le(65_535)] = 3000
    workers: Count = 1
    store: str = "memory://"
    completion: str = "simulated"
    word_delay: Annotated[float, Ge(0), Le(60)] = 0.05
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
    completion_timeout_seconds: Seconds = DEFAULTS.silence_seconds

    max_message_bytes: Annotated[int, Ge(1_024)] = 2 * 1024 * 1024
    max_sockets: Count = 10_000
    max_operations_per_socket: Count = 100
    connection_init_seconds: Seconds = 10.0

    @property
    def limits(self) -> Limits:
        return Limits(
            content_length=self.max_content_length,
            id_length=self.max_id_length,
            reply_length=self.max_reply_length,
            silence_seconds=self.completion_timeout_seconds,
            list_size=self.max_list_size,
            replies=self.max_replies,
        )


def read_settings(given: Mapping[str, Any] | None = None) -> Settings:
    """The settings from the command line, then the environment, then the defaults.

    Args:
        given: by field name; None means not given.

    Raises:
        ConfigurationError: names each setting that is wrong, or unknown, and what is allowed.
    """
    # GRAPHQL_APP_URL is for `graphql-app chat`.
    known = {PREFIX + name.upper() for name in (*Settings.model_fields, "url")}
    unknown = sorted(
        name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known
    )
    if unknown:
        raise ConfigurationError(
            f"{', '.join(unknown)}: no such setting; there are {', '.join(sorted(known))}."
        )
    try:
        return Settings(
            **{name: value for name, value in (given or {}).items() if value is not None}
        )
    except ValidationError as error:
        raise ConfigurationError(
            "\n".join(
                f"{'.'.join(map(str, item['loc']))}: {item['msg']}, not {item['input']!r}."
                for item in error.errors()
            )
        ) from error
