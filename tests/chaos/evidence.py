"""A history in the order in which it can be judged: who saw how much of which reply when."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.chaos.history import (
    Away,
    Called,
    Chunk,
    Cleared,
    Closed,
    Defect,
    Drafted,
    Event,
    Failed,
    Killed,
    Listed,
    Opened,
    Paused,
    Quit,
    Round,
    Row,
    Said,
    Salvaged,
    Settled,
    Started,
    Stopped,
    Terminated,
    Way,
    WindowClosed,
    WindowEvent,
    WindowOpened,
)

STREAMING, DONE, STOPPED, ERROR = "STREAMING", "DONE", "STOPPED", "ERROR"
PRODUCER_LOST = "PRODUCER_LOST"

QUIET_SECONDS = 2.0
"""How far from any fault a lag counts."""

GRACE_SECONDS = 1.0
"""What a process may need, beside the time of an outage, to renew its lease after it."""


def units(text: str) -> bytes:
    """A text as UTF-16 code units of two bytes each, which is what offsets count."""
    return text.encode("utf-16-le", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Sight:
    """Somebody saw a reply, at some moment between `begin` and `end`.

    `length` counts UTF-16 code units, of a text that was a beginning of the answer.
    """

    begin: float
    end: float
    reply: str
    length: int
    status: str
    error: str | None
    where: str

    @property
    def is_final(self) -> bool:
        return self.status != STREAMING

    @property
    def ending(self) -> str:
        return self.status if self.error is None else f"{self.status} {self.error}"


@dataclass(slots=True)
class Stream:
    """One stream, from the client's request to its end."""

    opened: Opened
    chunks: list[Chunk] = field(default_factory=list)
    closed: Closed | None = None

    @property
    def where(self) -> str:
        return f"{self.opened.client} at {self.opened.process}, stream {self.opened.stream}"

    @property
    def told_at(self) -> float | None:
        """When the stream brought a final status."""
        return next((chunk.at for chunk in self.chunks if chunk.status != STREAMING), None)


@dataclass(slots=True)
class Window:
    """One subscription to the events of a conversation."""

    opened: WindowOpened
    events: list[WindowEvent] = field(default_factory=list)
    closed: WindowClosed | None = None

    @property
    def where(self) -> str:
        return f"window {self.opened.window} at {self.opened.process}"


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something was seen that is no beginning of its answer, or that does not fit its stream."""

    message: str
    sentence: str


class Evidence:
    """What a history says, by message, by stream, by process."""

    def __init__(self, history: Iterable[Event]) -> None:
        self.round = Round("", "", 0, 10.0)
        self.drafts: dict[str, Drafted] = {}
        self.streams: dict[int, Stream] = {}
        self.windows: dict[int, Window] = {}
        self.lists: list[Listed] = []
        self.stops: list[Stopped] = []
        self.clears: list[Cleared] = []
        self.failures: list[Failed] = []
        self.defects: list[Defect] = []
        self.salvages: list[Salvaged] = []
        self.calls: dict[str, list[Called]] = defaultdict(list)
        self.said: dict[str, list[Said]] = defaultdict(list)
        self.quits: dict[str, Quit] = {}
        self.starts: list[Started] = []
        self.kills: dict[str, Killed] = {}
        self.terminations: dict[str, Terminated] = {}
        self.pauses: list[Paused] = []
        self.outages: list[Away] = []
        self.settled_at = float("inf")
        for event in history:
            self._take(event)
        self._by_message: dict[str, list[Stream]] = defaultdict(list)
        for stream in self.streams.values():
            self._by_message[stream.opened.message].append(stream)
        self._answers = {id: units(draft.answer) for id, draft in self.drafts.items()}
        self.wrong: list[Wrong] = []
        self.sights: dict[str, list[Sight]] = defaultdict(list)
        for stream in self.streams.values():
            for sight in self._seen_in_stream(stream):
                self.sights[stream.opened.message].append(sight)
        for begin, end, row, where in self._rows():
            if row.reply_to is not None:
                self._see_row(begin, end, row, where)

    def _take(self, event: Event) -> None:
        match event:
            case Round():
                self.round = event
            case Drafted():
                self.drafts[event.message] = event
            case Opened():
                self.streams[event.stream] = Stream(event)
            case Chunk():
                self.streams[event.stream].chunks.append(event)
            case Closed():
                self.streams[event.stream].closed = event
            case WindowOpened():
                self.windows[event.window] = Window(event)
            case WindowEvent():
                self.windows[event.window].events.append(event)
            case WindowClosed():
                self.windows[event.window].closed = event
            case Listed():
                self.lists.append(event)
            case Stopped():
                self.stops.append(event)
            case Cleared():
                self.clears.append(event)
            case Failed():
                self.failures.append(event)
            case Defect():
                self.defects.append(event)
            case Salvaged():
                self.salvages.append(event)
            case Called():
                self.calls[event.message].append(event)
            case Said():
                self.said[event.message].append(event)
            case Quit():
                self.quits[event.message] = event
            case Started():
                self.starts.append(event)
            case Killed():
                self.kills[event.process] = event
            case Terminated():
                self.terminations[event.process] = event
            case Paused():
                self.pauses.append(event)
            case Away():
                self.outages.append(event)
            case Settled():
                self.settled_at = event.at

    # What was seen.

    def _seen_in_stream(self, stream: Stream) -> Iterator[Sight]:
        """Keeps the text by the rule; ends at the first chunk that does not fit."""
        opened = stream.opened
        answer = self._answers[opened.message]
        content = units(opened.content)
        for chunk in stream.chunks:
            if any("\ud800" <= character <= "\udfff" for character in chunk.text):
                self._complain(stream, "a chunk cuts a character in two")
                return
            at = 2 * chunk.offset
            if at > len(content):
                self._complain(
                    stream,
                    f"a chunk for offset {chunk.offset} skips text: "
                    f"the client has {len(content) // 2} units",
                )
                return
            content = content[:at] + units(chunk.text)
            if not answer.startswith(content):
                self._complain(
                    stream,
                    f"{len(content) // 2} units after a chunk for offset {chunk.offset} "
                    "are no beginning of the answer",
                )
                return
            yield Sight(
                # The server may have read it at any time since it was asked.
                begin=opened.at,
                end=chunk.at,
                reply=chunk.reply,
                length=len(content) // 2,
                status=chunk.status,
                error=chunk.error,
                where=stream.where,
            )

    def _complain(self, stream: Stream, sentence: str) -> None:
        self.wrong.append(Wrong(stream.opened.message, f"{sentence} ({stream.where})"))

    def _rows(self) -> Iterator[tuple[float, float, Row, str]]:
        for listed in self.lists:
            for row in listed.rows:
                yield listed.begin, listed.end, row, f"a list at {listed.process}"
        for stop in self.stops:
            if stop.row is not None:
                yield stop.begin, stop.end, stop.row, f"a stop at {stop.process}"
        for window in self.windows.values():
            for event in window.events:
                # A reply's first event shows it as it was when it was added.
                if event.reset or event.rows[0].status != STREAMING:
                    for row in event.rows:
                        yield window.opened.at, event.at, row, window.where

    def _see_row(self, begin: float, end: float, row: Row, where: str) -> None:
        message = row.reply_to
        assert message is not None
        answer = self._answers.get(message)
        content = units(row.content)
        if answer is None or not answer.startswith(content):
            self.wrong.append(
                Wrong(
                    message, f"{len(content) // 2} units are no beginning of the answer ({where})"
                )
            )
            return
        self.sights[message].append(
            Sight(begin, end, row.id, len(content) // 2, row.status, row.error, where)
        )

    def streams_of(self, message: str) -> list[Stream]:
        return self._by_message[message]

    def answer_length(self, message: str) -> int:
        return len(self._answers[message]) // 2

    def first_final(self, message: str) -> Sight | None:
        """The first time that anybody had been told that a reply has ended."""
        finals = (sight for sight in self.sights[message] if sight.is_final)
        return min(finals, key=lambda sight: sight.end, default=None)

    def stored(self) -> Iterator[Listed]:
        """The lists that were read at the very end."""
        return (listed for listed in self.lists if listed.begin >= self.settled_at)

    def clears_of(self, message: str) -> list[Cleared]:
        conversation = self.drafts[message].conversation
        return [clear for clear in self.clears if clear.conversation == conversation]

    def lags(self, stream: Stream) -> Iterator[float]:
        """The seconds from each word's being said to its arrival in a stream.

        Only of words that the stream was waiting for at another process than their own, in quiet
        times.
        """
        message = stream.opened.message
        if not stream.chunks or stream.opened.process in self.producers(message):
            return
        ends = [chunk.offset + len(units(chunk.text)) // 2 for chunk in stream.chunks]
        for said in self.said[message]:
            index = bisect_left(ends, said.units)
            if said.at < stream.chunks[0].at or index == len(ends):
                continue
            seen_at = stream.chunks[index].at
            if self._is_quiet(said.at - QUIET_SECONDS, seen_at + QUIET_SECONDS):
                yield seen_at - said.at

    def _is_quiet(self, begin: float, end: float) -> bool:
        """Whether nothing was done to anybody."""
        moments = [killed.at for killed in self.kills.values()]
        moments += [started.at for started in self.starts]
        spans = [*self.hindrances(), *((moment, moment) for moment in moments)]
        spans += [(ended.begin, ended.end) for ended in self.terminations.values()]
        return not any(
            fault_begin <= end and fault_end >= begin for fault_begin, fault_end in spans
        )

    # Processes and faults.

    def producers(self, message: str) -> set[str]:
        """The process that called the completion, or those that may have been about to."""
        if self.calls[message]:
            return {call.process for call in self.calls[message]}
        return {
            stream.opened.process
            for stream in self.streams_of(message)
            if stream.opened.how in (Way.SEND, Way.AGAIN)
        }

    def ended_at(self, process: str) -> float:
        """When a process was killed, or told to end."""
        at = float("inf")
        if process in self.kills:
            at = min(at, self.kills[process].at)
        if process in self.terminations:
            at = min(at, self.terminations[process].begin)
        return at

    def hindrances(self, process: str | None = None) -> list[tuple[float, float]]:
        """When a process could not work, as far as is known; without one: when any could not.

        A process that stands still may hold SQLite's lock.
        """
        every = process is None or self.round.store == "sqlite"
        return sorted(
            [(pause.begin, pause.end) for pause in self.pauses if every or pause.process == process]
            + [
                (outage.begin, outage.end)
                for outage in self.outages
                if process is None or outage.everybody or process in outage.cpu_seconds
            ]
        )

    def due(self, begin: float, seconds: float, process: str | None = None) -> float:
        """When something must have happened at the latest that takes so many seconds.

        The clock starts anew after each hindrance.
        """
        due = begin + seconds
        for fault_begin, fault_end in self.hindrances(process):
            if fault_begin <= due and fault_end >= begin:
                due = max(due, fault_end + seconds)
        return due

    def is_hindered(self, process: str, begin: float, end: float, grace: float = 0.0) -> bool:
        """Whether anything that was done to a process, or the store, touches a span of time."""
        if self.ended_at(process) <= end:
            return True
        return any(
            fault_begin <= end and fault_end + grace >= begin
            for fault_begin, fault_end in self.hindrances(process)
        )

    def may_lose_lease(self, process: str, until: float) -> bool:
        """Whether a process was killed, or hindered for so long that its lease may have ended.

        It takes longer where nobody could use the store, and so nobody could take the lease away.
        """
        if self.ended_at(process) < until:
            return True
        renewed_before = min(1.0, self.round.lease_seconds / 3)
        enough = self.round.lease_seconds - renewed_before
        for_all = {(outage.begin, outage.end) for outage in self.outages if outage.everybody}
        return any(
            end - begin >= (enough if (begin, end) in for_all else enough - GRACE_SECONDS)
            and begin < until
            for begin, end in _joined(self.hindrances(process))
        )


def _joined(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans of time, in order; those between which there is hardly any time are one."""
    joined: list[tuple[float, float]] = []
    for begin, end in spans:
        if joined and begin - joined[-1][1] <= GRACE_SECONDS:
            last_begin, last_end = joined.pop()
            begin, end = last_begin, max(end, last_end)
        joined.append((begin, end))
    return joined
