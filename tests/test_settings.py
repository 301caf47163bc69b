"""The settings: where they come from, and that none can be wrong unnoticed."""

import os
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from graphql_app.completions.model import ALIVE_SECONDS
from graphql_app.errors import ConfigurationError
from graphql_app.limits import Limits
from graphql_app.settings import PREFIX, Settings, read_settings

SECRET = "0123456789abcdef" * 2


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on what is set outside."""
    for name in list(os.environ):
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)


def test_without_anything_given_the_defaults_are_those_that_are_documented() -> None:
    assert read_settings().model_dump() == {
        "host": "127.0.0.1",
        "port": 3000,
        "workers": 1,
        "open": False,
        "production": False,
        "introspection": None,
        "playground": None,
        "suggestions": None,
        "trusted_documents": "",
        "origins": (),
        "hosts": (),
        "trusted_proxies": (),
        "jwt_secret": None,
        "jwt_public_key": None,
        "jwt_jwks_url": None,
        "jwt_issuer": None,
        "jwt_audience": None,
        "log_format": "human",
        "log_operations": True,
        "log_content": False,
        "log_owner_key": None,
        "metrics_token": None,
        "otel": False,
        "store": "memory://",
        "completion": "simulated",
        "word_delay": 0.05,
        "system_prompt": "",
        "system_prompt_file": "",
        "max_history_messages": 0,
        "max_history_tokens": 0,
        "drain_seconds": 20.0,
        "notice_seconds": 1.0,
        "lease_seconds": 10.0,
        "max_content_length": 32_768,
        "max_id_length": 128,
        "max_reply_length": 262_144,
        "max_list_size": 1_000,
        "max_replies": 5_000,
        "max_replies_per_owner": 20,
        "completion_timeout_seconds": 60.0,
        "max_message_bytes": 2 * 1024 * 1024,
        "max_connections": 12_000,
        "max_sockets": 10_000,
        "max_operations_per_socket": 100,
        "connection_init_seconds": 10.0,
        "request_seconds": 15.0,
        "unread_seconds": 15.0,
        "deflate": False,
        "max_sends_per_minute": 120,
        "max_requests_per_minute": 3_000,
        "max_sockets_per_owner": 100,
        "max_sockets_per_address": 500,
        "max_messages_per_second": 100,
        "max_log_lines_per_second": 200,
    }


def test_the_environment_wins_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHQL_APP_PORT", "4000")
    assert read_settings().port == 4000


def test_a_variable_may_be_written_in_small_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("graphql_app_port", "4000")
    assert read_settings().port == 4000


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHQL_APP_PORT", "4000")
    monkeypatch.setenv("GRAPHQL_APP_HOST", "0.0.0.0")
    settings = read_settings({"port": 5000})
    assert (settings.port, settings.host) == (5000, "0.0.0.0")


def test_none_means_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHQL_APP_PORT", "4000")
    assert read_settings({"port": None, "host": None}).port == 4000


def test_a_variable_that_names_no_setting_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GRAPHQL_APP_PROT", "4000")
    with pytest.raises(ConfigurationError, match=r"^GRAPHQL_APP_PROT: no such setting; there are "):
        read_settings()


def test_the_refusal_of_an_unknown_variable_lists_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("Graphql_App_Prot", "4000")
    with pytest.raises(ConfigurationError) as refusal:
        read_settings()
    assert str(refusal.value).startswith("Graphql_App_Prot: ")
    for name in Settings.model_fields:
        assert PREFIX + name.upper() in str(refusal.value)


def test_variables_of_others_are_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHQL_APPLE", "1")
    monkeypatch.setenv("PORT", "4000")
    assert read_settings() == Settings()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("port", -1),
        ("port", 65_536),
        ("port", "http"),
        ("port", ""),
        ("word_delay", -0.1),
        ("word_delay", 60.1),
        ("word_delay", "nan"),
        ("max_history_messages", -1),
        ("max_history_tokens", -1),
        ("max_history_tokens", "many"),
        ("workers", 0),
        ("workers", 1.5),
        ("drain_seconds", -1),
        ("drain_seconds", 3_600.1),
        ("drain_seconds", "inf"),
        ("notice_seconds", -0.1),
        ("notice_seconds", 3_600.1),
        ("lease_seconds", 0.9),
        ("lease_seconds", 3_601),
        ("max_content_length", 0),
        ("max_content_length", 1.5),
        ("host", ""),
        ("max_id_length", 31),
        ("max_id_length", 513),
        ("max_reply_length", 0),
        ("max_list_size", 0),
        ("max_list_size", 1_001),
        ("max_replies", 0),
        ("max_replies_per_owner", 0),
        ("open", "perhaps"),
        ("completion_timeout_seconds", 0.99),
        ("completion_timeout_seconds", 86_401),
        ("completion_timeout_seconds", "inf"),
        ("max_message_bytes", 1_023),
        ("max_sockets", 0),
        ("max_operations_per_socket", 0),
        ("connection_init_seconds", 0),
        ("connection_init_seconds", "soon"),
    ],
)
class TestAWrongSettingIsRefusedByItsName:
    def test_when_it_is_given(self, name: str, wrong: Any) -> None:
        with pytest.raises(ConfigurationError, match=f"^{name}: .*, not {wrong!r}\\.$"):
            read_settings({name: wrong})

    def test_when_it_is_in_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, name: str, wrong: Any
    ) -> None:
        monkeypatch.setenv(PREFIX + name.upper(), str(wrong))
        with pytest.raises(ConfigurationError, match=f"^{name}: .*, not '{wrong}'\\.$"):
            read_settings()


@pytest.mark.parametrize(
    ("name", "edge"),
    [
        ("port", 0),
        ("port", 65_535),
        ("word_delay", 0.0),
        ("word_delay", 60.0),
        ("workers", 1),
        ("drain_seconds", 0.0),
        ("drain_seconds", 3_600.0),
        ("notice_seconds", 0.0),
        ("lease_seconds", 1.0),
        ("lease_seconds", 3_600.0),
        ("max_content_length", 1),
        ("max_id_length", 32),
        ("max_id_length", 512),
        ("max_replies", 1),
        ("completion_timeout_seconds", 1.0),
        ("completion_timeout_seconds", 86_400.0),
        ("max_message_bytes", 1_024),
    ],
)
def test_a_setting_may_be_at_the_edge_of_what_is_allowed(name: str, edge: float) -> None:
    assert getattr(read_settings({name: edge}), name) == edge


@pytest.mark.parametrize(
    ("name", "text", "entries"),
    [
        ("origins", "https://a.example/", None),
        ("origins", "https://a.example, null", None),
        ("origins", "https://a.example", ("https://a.example",)),
        (
            "origins",
            " https://A.example:443 ,http://localhost:5173,",
            ("https://a.example", "http://localhost:5173"),
        ),
        ("origins", "", ()),
        ("hosts", "a.example,*.b.example", ("a.example", "*.b.example")),
        ("hosts", "*", ("*",)),
        ("hosts", "a.example:80", None),
        ("trusted_proxies", "10.0.0.0/8,::1", ("10.0.0.0/8", "::1/128")),
        ("trusted_proxies", "10.0.0.1/8", None),
        ("trusted_proxies", "proxy", None),
    ],
)
def test_a_list_stands_between_commas_and_a_wrong_entry_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, entries: tuple[str, ...] | None
) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), text)
    if entries is not None:
        assert getattr(read_settings(), name) == entries
        return
    with pytest.raises(ConfigurationError) as refusal:
        read_settings()
    wrong = text.rpartition(",")[2].strip()
    assert str(refusal.value).startswith(f"{name}: {wrong!r} ")
    assert str(refusal.value).count(wrong) <= 2
    assert str(refusal.value).endswith((".", ")."))


def test_every_page_may_use_a_server_only_if_it_is_open_or_wants_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GRAPHQL_APP_ORIGINS", "*")
    with pytest.raises(ConfigurationError, match=r"^origins: \* lets every page"):
        read_settings()
    assert read_settings({"open": True}).origins == ("*",)
    assert read_settings({"jwt_secret": "s" * 32}).origins == ("*",)


def test_each_wrong_setting_has_a_line_of_its_own() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read_settings({"port": -1, "max_replies": 0})
    assert [line.split(":")[0] for line in str(refusal.value).splitlines()] == [
        "port",
        "max_replies",
    ]


def test_a_given_name_that_is_no_setting_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^prot: "):
        read_settings({"prot": 4000})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_settings().port = 4000


def test_the_limits_of_the_chat_are_those_of_the_settings() -> None:
    assert asdict(
        read_settings(
            {
                "max_content_length": 1,
                "max_id_length": 32,
                "max_reply_length": 3,
                "completion_timeout_seconds": 4,
                "max_list_size": 5,
                "max_replies": 6,
            }
        ).limits
    ) == {
        "content_length": 1,
        "id_length": 32,
        "reply_length": 3,
        "silence_seconds": 4,
        "list_size": 5,
        "replies": 6,
        "replies_per_owner": None,
    }


def test_with_tokens_an_owner_has_a_limit_of_streaming_replies() -> None:
    given = {"jwt_secret": SECRET, "max_replies_per_owner": 7}
    assert read_settings(given).limits.replies_per_owner == 7


def test_no_secret_is_shown_with_the_settings_or_in_what_is_wrong_with_them() -> None:
    private = "-----BEGIN PRIVATE KEY-----"
    settings = read_settings({"jwt_secret": SECRET, "jwt_public_key": private})
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.jwt_secret}"
    assert private not in f"{settings!r} {settings}"
    with pytest.raises(ConfigurationError) as refusal:
        read_settings({"jwt_secret": [SECRET], "jwt_public_key": [private], "port": -1})
    assert SECRET not in str(refusal.value)
    assert private not in str(refusal.value)


def test_the_default_limits_are_those_of_the_default_settings() -> None:
    assert read_settings().limits == Limits()


def test_the_system_prompt_is_what_its_file_says(tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("You are a pirate. Say “Arr”.\n\nAlways.\n\n", encoding="utf-8")
    settings = read_settings({"system_prompt_file": str(file)})
    assert settings.system_prompt == "You are a pirate. Say “Arr”.\n\nAlways."


def test_a_mark_of_the_byte_order_is_no_part_of_the_system_prompt(tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_bytes(b"\xef\xbb\xbfBe brief.\r\n")
    assert read_settings({"system_prompt_file": str(file)}).system_prompt == "Be brief."


def test_a_model_that_thinks_gives_several_signs_of_life_within_the_least_silence() -> None:
    least = 4 * ALIVE_SECONDS
    assert read_settings({"completion_timeout_seconds": least}).limits.silence_seconds == least
    with pytest.raises(ConfigurationError):
        read_settings({"completion_timeout_seconds": 0.99 * least})


def test_a_system_prompt_and_its_file_are_not_taken_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prompt.txt").write_text("You are a pirate.")
    monkeypatch.setenv("GRAPHQL_APP_SYSTEM_PROMPT", "You are a parrot.")
    with pytest.raises(ConfigurationError, match="give one of them, not both"):
        read_settings({"system_prompt_file": str(tmp_path / "prompt.txt")})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_a_file_that_holds_no_system_prompt_is_refused_by_name(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    file = tmp_path / "prompt.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError) as refusal:
        read_settings({"system_prompt_file": str(file)})
    assert str(refusal.value) == f"system_prompt_file: {str(file)!r} {reason}."


@pytest.mark.parametrize("file", ["\0", "/"])
def test_what_is_no_file_is_refused(file: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^system_prompt_file: .* cannot be read: "):
        read_settings({"system_prompt_file": file})


# The log.


@pytest.mark.parametrize(
    ("given", "format"),
    [
        ({}, "human"),
        ({"log_format": "json"}, "json"),
        ({"production": True}, "json"),
        ({"production": True, "log_format": "human"}, "human"),
    ],
)
def test_in_production_the_log_is_json_unless_it_is_said(
    given: dict[str, Any], format: str
) -> None:
    settings = read_settings(given)
    assert settings.shown_log_format == format
    assert pickle.loads(pickle.dumps(settings)).shown_log_format == format  # As workers get it.


@pytest.mark.parametrize("name", ["metrics_token", "log_owner_key"])
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_secret_is_refused_since_everybody_has_it(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}: it is empty"):
        read_settings({name: value})


@pytest.mark.parametrize("value", [" a-token", "two words", "käse"])
def test_a_token_that_no_header_carries_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="metrics_token: a header carries") as refused:
        read_settings({"metrics_token": value})
    assert value not in str(refused.value)


@pytest.mark.parametrize("name", ["metrics_token", "log_owner_key", "store", "system_prompt"])
def test_what_nobody_should_read_is_not_in_a_refusal(name: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read_settings({name: ["canary"]})
    assert str(refusal.value).startswith(f"{name}: ")
    assert "canary" not in str(refusal.value)


def test_secrets_are_the_settings_named_so_and_the_password_of_the_store() -> None:
    settings = Settings(metrics_token=SecretStr("a-token"), store="redis://me:p%40ss/word@host/0")
    assert set(settings.secrets) == {"a-token"}
    settings = Settings(metrics_token=SecretStr("a-token"), store="redis://me:p%40ssword@host/0")
    assert set(settings.secrets) == {"a-token", "p%40ssword", "p@ssword"}
