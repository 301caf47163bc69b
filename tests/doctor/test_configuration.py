"""What is found about the settings."""

from typing import Any

import pytest

from graphql_app.doctor import configuration
from graphql_app.doctor.findings import Finding, Level
from graphql_app.settings import PREFIX, Settings


def found(name: str, **values: Any) -> Finding | None:
    """The finding of a name that is not fine, if there is one."""
    for finding in configuration.examine(Settings(**values)):
        if finding.name == name and finding.level is not Level.OK:
            return finding
    return None


def test_the_usual_settings_fit_each_other() -> None:
    assert {finding.level for finding in configuration.examine(Settings())} == {Level.OK}


@pytest.mark.parametrize(
    ("name", "level", "values"),
    [
        ("settings.workers", Level.FAIL, {"workers": 2}),
        ("settings.store", Level.WARN, {"production": True, "completion": "openai:gpt-5-mini"}),
        ("settings.completion", Level.WARN, {"production": True, "store": "sqlite:///chat.db"}),
        ("settings.completion", Level.WARN, {"system_prompt": "Be brief."}),
        ("settings.completion", Level.WARN, {"completion": "echo", "max_history_tokens": 10}),
        ("settings.sizes", Level.WARN, {"max_reply_length": 500_000}),
        ("settings.sizes", Level.WARN, {"max_message_bytes": 65_536}),
        ("settings.deflate", Level.WARN, {"deflate": True}),
        ("settings.connections", Level.WARN, {"max_connections": 9_000}),
        ("settings.lease", Level.WARN, {"lease_seconds": 2, "store": "sqlite:///chat.db"}),
    ],
)
def test_settings_that_do_not_fit_each_other_are_found(
    name: str, level: Level, values: dict[str, Any]
) -> None:
    finding = found(name, **values)
    assert finding is not None
    assert finding.level is level
    assert finding.advice


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("settings.workers", {"workers": 2, "store": "sqlite:///chat.db"}),
        ("settings.store", {"production": True, "store": "sqlite:///chat.db"}),
        ("settings.completion", {"completion": "openai:x", "system_prompt": "Be brief."}),
        ("settings.lease", {"lease_seconds": 2}),
    ],
)
def test_settings_that_fit_are_not(name: str, values: dict[str, Any]) -> None:
    assert found(name, **values) is None


def test_what_cannot_be_put_together_is_found() -> None:
    assert configuration.together(Settings()).level is Level.OK
    assert configuration.together(Settings(store="oracle://x")).level is Level.FAIL


def test_where_settings_come_from_is_said_without_their_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(f"{PREFIX}SYSTEM_PROMPT", "the canary sings")
    monkeypatch.setenv(f"{PREFIX}PORT", "3001")
    settings, [finding] = configuration.read({"port": 3002, "store": None})
    assert settings is not None
    assert settings.port == 3002
    assert finding.sentence == (
        "All settings can be used; port from the command line; system_prompt from the environment; "
        "the rest is as usual."
    )


def test_nothing_given_is_said_too() -> None:
    _, [finding] = configuration.read({})
    assert finding.sentence == "All settings can be used; all are as usual."


def test_each_setting_that_cannot_be_used_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, findings = configuration.read({"port": 70_000, "workers": 0})
    assert settings is None
    assert [(finding.name, finding.level) for finding in findings] == [
        ("settings.valid", Level.FAIL)
    ] * 2
    monkeypatch.setenv(f"{PREFIX}STOER", "memory://")
    _, [finding] = configuration.read({})
    assert f"{PREFIX}STOER" in finding.sentence
