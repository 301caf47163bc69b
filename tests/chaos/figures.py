"""What a history shows in numbers."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.chaos.evidence import PRODUCER_LOST, Evidence
from tests.chaos.history import Ending, Event, Way


@dataclass
class Figures:
    """Counts and times of one or more rounds.

    Args:
        lost: replies that ended as PRODUCER_LOST.
        truths: seconds from a kill until anybody was told that a reply had ended by it.
        lags: seconds from a word's being said to its arrival at a follower at another process,
            away from all faults.
    """

    rounds: int = 0
    replies: int = 0
    chunks: int = 0
    cuts: int = 0
    resumes: int = 0
    kills: int = 0
    lost: int = 0
    violations: int = 0
    truths: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)

    def add(self, other: "Figures") -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def lag(self, share: float) -> float | None:
        """The lag that so large a share of the words stays below."""
        if not self.lags:
            return None
        ordered = sorted(self.lags)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure(history: Iterable[Event]) -> Figures:
    evidence = Evidence(history)
    streams = evidence.streams.values()
    figures = Figures(
        rounds=1,
        replies=len(evidence.sights),
        chunks=sum(len(stream.chunks) for stream in streams),
        cuts=sum(
            stream.closed is not None and stream.closed.how in (Ending.LEFT, Ending.LOST)
            for stream in streams
        ),
        resumes=sum(stream.opened.how != Way.SEND for stream in streams),
        kills=len(evidence.kills),
    )
    for message in evidence.sights:
        first = evidence.first_final(message)
        if first is None or first.error != PRODUCER_LOST:
            continue
        figures.lost += 1
        for process in evidence.producers(message):
            if process in evidence.kills:
                figures.truths.append(first.end - evidence.kills[process].at)
    for stream in streams:
        figures.lags += evidence.lags(stream)
    return figures
