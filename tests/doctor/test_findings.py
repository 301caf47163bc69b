"""How findings are told."""

import json

from graphql_app.doctor.findings import (
    Finding,
    Level,
    as_json,
    as_text,
    exit_status,
    fail,
    ok,
    warn,
    worst,
)

FINDINGS = [
    ok("store.reachable", "It is there."),
    warn("store.latency", "It is slow.", "Move it."),
    ok("port.free", "It is free."),
]


def test_the_worst_finding_counts() -> None:
    broken = [*FINDINGS, fail("model.there", "It is not.", "Install it.")]
    assert [exit_status(found) for found in ([], FINDINGS[:1], FINDINGS, broken)] == [0, 0, 1, 2]
    assert worst([]) is Level.OK


def test_people_read_findings_by_area_with_what_to_do_and_a_count() -> None:
    assert as_text(FINDINGS, lambda _, word: word) == (
        "store\n"
        "  ok    store.reachable: It is there.\n"
        "  warn  store.latency: It is slow.\n"
        "        → Move it.\n"
        "\n"
        "port\n"
        "  ok    port.free: It is free.\n"
        "\n"
        "0 fail, 1 warn, 2 ok"
    )


def test_each_level_has_its_paint() -> None:
    painted: list[tuple[Level, str]] = []

    def paint(level: Level, word: str) -> str:
        painted.append((level, word.strip()))
        return word

    as_text(FINDINGS, paint)
    assert painted == [(finding.level, finding.level.value) for finding in FINDINGS]


def test_programs_read_all_of_it() -> None:
    read = json.loads(as_json(FINDINGS))
    assert read["level"] == "warn"
    assert [Finding(**finding) for finding in read["findings"]] == FINDINGS
