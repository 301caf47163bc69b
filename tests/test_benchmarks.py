"""The benchmark runs: tiny sizes, our server alone. Its figures are not looked at."""

import re
import shutil
from pathlib import Path

import pytest

from benchmarks import streaming
from benchmarks.machine import Cores, allowed_cores, pinned
from benchmarks.replies import Reply, WrongTextError
from benchmarks.servers import KINDS, OURS, PEERS
from benchmarks.table import shown, table
from benchmarks.workloads import WORKLOADS

PYTHON_PEERS = [kind.name for kind in KINDS.values() if not kind.needs_node]
NODE_PEERS = [kind.name for kind in KINDS.values() if kind.needs_node]


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_runs_on_our_server(
    workload: str, capfd: pytest.CaptureFixture[str]
) -> None:
    streaming.main(["--quick", "--rounds", "1", "--server", OURS, "--workload", workload])
    printed, _ = capfd.readouterr()
    assert re.search(rf"^\| {OURS}( \\\*)? \| [\d,.]+ \|", printed, re.MULTILINE), printed


@pytest.mark.parametrize("server", [*PYTHON_PEERS, *NODE_PEERS])
def test_every_peer_delivers_what_the_completion_says(
    server: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if server in NODE_PEERS and not (shutil.which("node") and (PEERS / "node_modules").is_dir()):
        pytest.skip("the Node peers are not installed (make bench)")
    for workload in ("followed", "fair"):
        streaming.main(["--quick", "--rounds", "1", "--server", server, "--workload", workload])
    assert capfd.readouterr().out.count(f"| {server}") == 2


def chunk(offset: int, text: str, status: str = "STREAMING") -> dict[str, object]:
    return {"messageId": "r", "offset": offset, "text": text, "status": status}


@pytest.mark.parametrize(
    ("chunks", "complaint"),
    [
        ([chunk(0, "0:1 "), chunk(8, "2:1 ")], "when the text ended at 4"),
        ([chunk(0, "0:1 "), chunk(4, "2:1 ")], "missing or doubled"),
        ([chunk(0, "0:1 "), chunk(4, "0:1 ")], "missing or doubled"),
        ([chunk(0, "0:1 1:1 ")], "2 of 2 words, then STREAMING"),
        ([chunk(0, "0:1 ", "DONE")], "1 of 2 words"),
    ],
)
async def test_a_text_that_is_wrong_is_not_measured(
    chunks: list[dict[str, object]], complaint: str
) -> None:
    reply = Reply()
    for each in chunks:
        reply.take(0.0, each)
    with pytest.raises(WrongTextError, match=complaint):
        reply.check(words=2)


def test_a_table_has_medians_their_range_and_the_ratio_to_each_peer() -> None:
    measured = {
        OURS: [{"us": 10.0}, {"us": 12.0}, {"us": 20.0}],
        "peer": [{"us": 20.0}, {"us": 20.0}, {"us": 20.0}],
    }
    disturbed = {OURS: True, "peer": False}
    _, _, first, second, _, note = table(
        measured, disturbed, compared=["us"], ours=OURS
    ).splitlines()
    assert first == f"| {OURS} \\* | 12.0 (10.0..20.0) |  |"
    assert second == "| peer | 20.0 | 0.60 (0.50..1.00) |"
    assert "something else" in note


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1,234"), (139.2, "139"), (9.87, "9.87"), (0.614, "0.61"), (0.0, "0")],
)
def test_a_figure_is_shown_with_three_digits(value: float, text: str) -> None:
    assert shown(value) == text


def test_a_process_that_was_pinned_gets_its_cores_back() -> None:
    before = allowed_cores()
    with pinned(before.server):
        assert allowed_cores() == Cores(before.server, before.server)
    assert allowed_cores() == before


def test_the_lock_file_of_the_peers_names_no_registry() -> None:
    assert '"resolved"' not in (Path(PEERS) / "package-lock.json").read_text()
