"""A short soak: half a minute, three faults. `make soak` runs the long one, on every store."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.chaos.history import Called, Event, Quit, Recorder
from tests.chaos.nemeses import Arena, Nemesis, kill, pause, terminate
from tests.chaos.sites import Sites
from tests.soak.__main__ import formatted
from tests.soak.soak import Answers, Plan, Result, Soak


async def soaked(
    plan: Plan,
    folder: Path,
    nemeses: Sequence[Nemesis],
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """A soak of SQLite."""
    with (
        ThreadPoolExecutor(1) as judges,
        Sites(folder / "stores") as sites,
        sites.open("sqlite") as site,
    ):
        return await Soak(site, plan, 1, folder, judges=judges, say=say, nemeses=nemeses).run()


def test_the_usual_soak_takes_ten_minutes_and_has_a_fault_every_20_seconds() -> None:
    plan = Plan()
    assert (plan.seconds, plan.every_seconds) == (600, 20)
    spells = list(plan.spells())
    assert [number for spell in spells for number in spell] == list(range(30))
    assert {len(spell) for spell in spells} == {3}


def test_a_last_spell_may_have_fewer_faults() -> None:
    assert list(Plan(faults=4).spells()) == [range(3), range(3, 4)]


async def test_no_promise_is_broken_and_nothing_grows(tmp_path: Path) -> None:
    plan = Plan(faults=3, every_seconds=8, faults_in_a_spell=1, lease_seconds=2)
    said: list[str] = []
    result = await soaked(plan, tmp_path, (kill, pause, terminate), said.append)
    broken = "\n".join(map(str, result.violations))
    assert not broken, f"histories in {tmp_path}:\n{broken}"
    assert sorted(said) == ["sqlite: kill", "sqlite: pause", "sqlite: terminate"]
    assert (result.faults, len(result.sizes)) == (3, 3)
    assert result.figures.replies > 10
    assert result.figures.kills == 1
    assert all(size.tasks and size.files for size in result.sizes)
    assert "| sqlite |" in formatted({"sqlite": result})


async def test_what_completions_write_is_cut_where_a_spell_ends(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "answers")
    answers = Answers(tmp_path / "answers")
    first: list[Event] = [Called(1.0, "p0", "m0"), Quit(2.0, "m0")]
    second: list[Event] = [Called(3.0, "p0", "m1"), Quit(4.0, "m1")]
    for event in first:
        recorder.add(event)
    assert answers.new() == first
    await answers.keep(tmp_path / "first")
    for event in second:
        recorder.add(event)
    assert answers.new() == second
    await answers.keep(tmp_path / "second")
    assert answers.new() == []
    assert Answers(tmp_path / "second").new() == second


async def test_a_process_that_dies_by_itself_is_convicted(tmp_path: Path) -> None:
    async def die(arena: Arena) -> None:
        """A kill that nobody notes."""
        arena.cluster.running[-1].server.process.kill()

    plan = Plan(faults=1, every_seconds=3, lease_seconds=2, clients=2)
    result = await soaked(plan, tmp_path, (die,))
    assert any("died by itself" in violation.sentence for violation in result.violations)
