"""What happens to the contract where a store's server is missing."""

from contextlib import nullcontext

import pytest

from tests.contracts.backends import Backend

MISSING = Backend("toast", lambda folder: nullcontext("toast://"), program="no-such-toaster")
REASON = "the store toast needs no-such-toaster, which is not installed"


def test_a_missing_server_skips_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=REASON):
        MISSING.require()


def test_a_missing_server_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=REASON):
        MISSING.require()


@pytest.mark.parametrize("program", [None, "sh"])
def test_a_store_that_needs_nothing_missing_is_tested(
    monkeypatch: pytest.MonkeyPatch, program: str | None
) -> None:
    monkeypatch.setenv("CI", "true")
    Backend("bread", lambda folder: nullcontext("bread://"), program=program).require()
