"""SECURITY.md: what it names is there."""

import re
from pathlib import Path

import pytest

from graphql_app.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
SECURITY = (ROOT / "SECURITY.md").read_text()
GO_PUBLIC = (ROOT / "docs/how-to/go-public.md").read_text()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:tests|client)/[\w./]*)`", SECURITY))))
def test_what_keeps_a_defence_is_there(path: str) -> None:
    found = ROOT / path
    assert found.exists()
    if found.suffix == ".py":
        assert re.search(r"^(async )?def test_", found.read_text(), re.MULTILINE)
    elif path.startswith("tests/"):
        assert list(found.glob("**/test_*.py"))


def test_each_setting_that_is_named_exists() -> None:
    for text in (SECURITY, GO_PUBLIC):
        names = {name.lower() for name in re.findall(rf"{PREFIX}([A-Z_]+)", text)}
        assert names <= Settings.model_fields.keys()
        assert len(names) > 5


def test_the_row_of_each_attacker_has_tests_or_is_left_to_the_operator() -> None:
    rows = [line for line in SECURITY.splitlines() if line.startswith("| ") and "|---" not in line]
    defended = [row for row in rows if row.count("|") == 4 and not row.startswith("| what ")]
    assert len(defended) > 25
    for row in defended:
        last = row.rstrip("|").rpartition("|")[2].strip()
        assert "`" in last or "docs/" in last, row
