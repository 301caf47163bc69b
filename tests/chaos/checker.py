"""Decides from a history alone whether the promises were kept.

It knows nothing of the code: neither stores, nor leases, nor how text travels; only what clients
asked and were shown, which completions were called, and which faults there were.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.chaos.evidence import (
    DONE,
    ERROR,
    PRODUCER_LOST,
    STOPPED,
    STREAMING,
    Evidence,
    Sight,
    Stream,
    Window,
    units,
)
from tests.chaos.history import (
    Ending,
    Event,
    Killed,
    Listed,
    Paused,
    Row,
    Salvaged,
    Way,
)

TRUTH_SECONDS = 5.0
"""What P7 allows beside the lease, and what a follower may lag behind a truth that others know."""

LAG_SECONDS = 3.0
"""What no word may take in quiet times, however busy the machine; most take a hundredth."""

CLOSING_SECONDS = 3.0
"""How long a completion may run on: the second that P6 allows, and time for a busy machine."""

RECOVERY_SECONDS = 5.0
"""How long after an outage a server may still say that the store is away."""

BUSY = 0.9
"""The share of a core that a process may burn while the store is away."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken, and the evidence in one sentence."""

    promise: str
    subject: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.promise} {self.subject}: {self.sentence}"


def check(history: Iterable[Event]) -> list[Violation]:
    """All violations that a history shows."""
    evidence = Evidence(history)
    judges = (exact, durable, once, final, stopped, told, cleared, prompt, in_step, sound, salvaged)
    return list(dict.fromkeys(violation for judge in judges for violation in judge(evidence)))


# P1


def exact(evidence: Evidence) -> Iterator[Violation]:
    """P1: what clients keep is a beginning of the answer, and nothing comes twice."""
    for wrong in evidence.wrong:
        yield Violation("P1", wrong.message, wrong.sentence)
    for stream in evidence.streams.values():
        for sentence in _malformed(evidence, stream):
            yield Violation("P1", stream.opened.message, f"{sentence} ({stream.where})")
    for listed in evidence.lists:
        times = [row.created_at for row in listed.rows]
        if times != sorted(set(times)):
            yield Violation("P1", listed.conversation, f"a list at {listed.process} has no order")
        for row in listed.rows:
            draft = evidence.drafts.get(row.id)
            if row.reply_to is None and (
                draft is None or (row.content, row.status) != (draft.content, DONE)
            ):
                yield Violation("P1", row.id, f"a list at {listed.process} shows it altered")


def _malformed(evidence: Evidence, stream: Stream) -> Iterator[str]:
    opened, chunks = stream.opened, stream.chunks
    if chunks:
        had = len(units(opened.content)) // 2
        expected = had if opened.how in (Way.CONTENT, Way.OFFSET) else 0
        if opened.how != Way.WRONG and chunks[0].offset != expected:
            yield f"a stream by {opened.how} began at {chunks[0].offset}, not at {expected}"
    for earlier, later in itertools.pairwise(chunks):
        if earlier.status != STREAMING:
            yield "a chunk followed the one with the final status"
        if later.offset != earlier.offset + len(units(earlier.text)) // 2:
            yield f"a chunk for offset {later.offset} does not follow the one before it"
    if any((chunk.status == ERROR) != (chunk.error is not None) for chunk in chunks):
        yield "a chunk has an error without the status, or the status without an error"
    if stream.closed is not None and stream.closed.how == Ending.BARE:
        ended_at = evidence.ended_at(opened.process)
        if ended_at > stream.closed.at:
            yield "the stream completed without a final status"


# P2


def durable(evidence: Evidence) -> Iterator[Violation]:
    """P2: what anybody was shown is stored, for everybody who looks later."""
    for message, sights in evidence.sights.items():
        if evidence.clears_of(message):
            continue
        most = _most_shown_before(sights)
        for sight, shown in most:
            if shown is not None and sight.length < shown.length:
                yield Violation(
                    "P2",
                    message,
                    f"{sight.where} shows {sight.length} units after "
                    f"{shown.where} showed {shown.length}",
                )
    for listed in evidence.lists:
        present = {row.id for row in listed.rows} | {row.reply_to for row in listed.rows}
        for message, sights in evidence.sights.items():
            if (
                message not in present
                and evidence.drafts[message].conversation == listed.conversation
                and any(sight.end < listed.begin for sight in sights)
                and not any(clear.begin < listed.end for clear in evidence.clears_of(message))
            ):
                yield Violation("P2", message, f"a list at {listed.process} lacks it, once shown")
        for row in listed.rows:
            if row.reply_to is not None and row.reply_to not in {other.id for other in listed.rows}:
                yield Violation("P2", row.reply_to, "there is a reply without its message")


def _most_shown_before(sights: list[Sight]) -> list[tuple[Sight, Sight | None]]:
    """Each sight, and the longest that had been seen for sure when it began."""
    by_end = sorted(sights, key=lambda sight: sight.end)
    result, longest, index = [], None, 0
    for sight in sorted(sights, key=lambda sight: sight.begin):
        while index < len(by_end) and by_end[index].end < sight.begin:
            if longest is None or by_end[index].length > longest.length:
                longest = by_end[index]
            index += 1
        result.append((sight, longest))
    return result


# P4


def once(evidence: Evidence) -> Iterator[Violation]:
    """P4: one message, one reply, at most one completion."""
    messages_of: dict[str, set[str]] = defaultdict(set)
    for message, sights in evidence.sights.items():
        replies = {sight.reply for sight in sights}
        for reply in replies:
            messages_of[reply].add(message)
        if len(replies) > 1:
            yield Violation("P4", message, f"it has {len(replies)} replies")
    for reply, messages in messages_of.items():
        if len(messages) > 1:
            yield Violation("P4", reply, f"it answers {len(messages)} messages")
    for message, calls in evidence.calls.items():
        if len(calls) > 1:
            where = ", ".join(call.process for call in calls)
            yield Violation(
                "P4", message, f"its completion was called {len(calls)} times ({where})"
            )
    for listed in evidence.lists:
        for id, count in Counter(row.id for row in listed.rows).items():
            if count > 1:
                yield Violation("P4", id, f"a list at {listed.process} has it {count} times")
    for stream in evidence.streams.values():
        if stream.closed is not None and stream.closed.code == "MESSAGE_ID_CONFLICT":
            yield Violation("P4", stream.opened.message, "sending it again was a conflict")


# P5


def final(evidence: Evidence) -> Iterator[Violation]:
    """P5: a reply ends once, in a way that has a reason, and never changes after."""
    for message, sights in evidence.sights.items():
        first = evidence.first_final(message)
        if first is None:
            if not evidence.clears_of(message):
                yield Violation("P5", message, "it never ended")
            continue
        for sight in sights:
            if sight.is_final and (sight.ending, sight.length) != (first.ending, first.length):
                yield Violation(
                    "P5",
                    message,
                    f"{first.where} says {first.ending} at {first.length} units, "
                    f"{sight.where} says {sight.ending} at {sight.length}",
                )
            elif not sight.is_final and sight.begin > first.end:
                yield Violation(
                    "P5", message, f"{sight.where} says {sight.status} after {first.ending}"
                )
            elif sight.length > first.length:
                yield Violation(
                    "P5",
                    message,
                    f"{sight.where} shows {sight.length} units of a reply that ended at "
                    f"{first.length}",
                )
        if (sentence := _unreasonable(evidence, message, first)) is not None:
            yield Violation("P5", message, sentence)
    for listed in evidence.stored():
        for row in listed.rows:
            if row.status == STREAMING:
                yield Violation("P5", row.reply_to or row.id, "it streams for ever")


def _unreasonable(evidence: Evidence, message: str, ending: Sight) -> str | None:
    """Why a reply cannot have ended like this."""
    producers = evidence.producers(message)
    match ending.status, ending.error:
        case ("DONE", None):
            missing = evidence.answer_length(message) - ending.length
            return f"it is DONE, and {missing} units are missing" if missing else None
        case ("STOPPED", None):
            was_asked = any(
                stop.message == message and stop.begin < ending.end for stop in evidence.stops
            )
            return None if was_asked else "it is STOPPED, and nobody asked for that"
        case ("ERROR", "PRODUCER_LOST"):
            lost = any(evidence.may_lose_lease(process, ending.end) for process in producers)
            return None if lost else "its producer was lost, and nothing had happened to it"
        case ("ERROR", "SERVER_SHUTDOWN"):
            was_told = any(process in evidence.terminations for process in producers)
            return None if was_told else "its server shut down, and nobody had asked for that"
    return f"it ended as {ending.ending}"


# P6


def stopped(evidence: Evidence) -> Iterator[Violation]:
    """P6: after a stop the completion is closed; no completion outlives its reply."""
    for stop in evidence.stops:
        if stop.row is not None and stop.row.status == STOPPED:
            yield from _runs_on("P6", evidence, stop.message, stop.end)
    for message, calls in evidence.calls.items():
        for call in calls:
            if message not in evidence.quits and evidence.ended_at(call.process) == float("inf"):
                yield Violation("P6", message, f"its completion still runs at {call.process}")


def _runs_on(promise: str, evidence: Evidence, message: str, since: float) -> Iterator[Violation]:
    for call in evidence.calls[message]:
        due = evidence.due(since, CLOSING_SECONDS, call.process)
        closed = evidence.quits.get(message)
        if due < evidence.ended_at(call.process) and (closed is None or closed.at > due):
            yield Violation(promise, message, f"its completion ran on at {call.process}")


# P7


def told(evidence: Evidence) -> Iterator[Violation]:
    """P7: what a dead process produced has ended for all, in time; followers hear of every end."""
    allowed = evidence.round.lease_seconds + TRUTH_SECONDS
    for message, calls in evidence.calls.items():
        for process, since, until in _silences(evidence):
            if not any(call.process == process and call.at < since for call in calls):
                continue
            due = evidence.due(since, allowed)
            for sight in evidence.sights[message]:
                if not sight.is_final and due < sight.begin < until:
                    yield Violation(
                        "P7",
                        message,
                        f"{sight.where} says STREAMING {sight.begin - since:.1f} s after "
                        f"the end of {process}",
                    )
    for message in evidence.sights:
        first = evidence.first_final(message)
        if first is None:
            continue
        for stream in evidence.streams_of(message):
            since = max(first.end, stream.opened.at)
            if _is_late(evidence, stream, stream.told_at, since):
                yield Violation(
                    "P7", message, f"{stream.where} was not told {first.ending} in time"
                )


def _silences(evidence: Evidence) -> Iterator[tuple[str, float, float]]:
    """When which process produced nothing: for ever from a kill on, and while it stood still."""
    faults: list[Killed | Paused] = [*evidence.kills.values(), *evidence.pauses]
    for fault in faults:
        if isinstance(fault, Killed):
            yield fault.process, fault.at, float("inf")
        elif evidence.round.store != "sqlite":  # Where it may hold the lock.
            yield fault.process, fault.begin, fault.end


def _is_late(evidence: Evidence, stream: Stream, told_at: float | None, since: float) -> bool:
    """Whether a stream still ran when it should have been told something known since a moment."""
    due = evidence.due(since, TRUTH_SECONDS, stream.opened.process)
    if told_at is not None:
        return told_at > due
    closed_at = stream.closed.at if stream.closed is not None else float("inf")
    return min(closed_at, evidence.ended_at(stream.opened.process)) > due


# P8


def cleared(evidence: Evidence) -> Iterator[Violation]:
    """P8: what was cleared is gone, its followers are told, and it does not come back."""
    for clear in evidence.clears:
        if not clear.acknowledged:
            continue
        for message, sights in evidence.sights.items():
            if evidence.drafts[message].conversation != clear.conversation:
                continue
            if not any(sight.end < clear.begin for sight in sights):
                continue
            for sight in sights:
                if sight.begin > clear.end:
                    yield Violation("P8", message, f"{sight.where} shows it after it was cleared")
            for call in evidence.calls[message]:
                if call.at > evidence.due(clear.end, CLOSING_SECONDS, call.process):
                    yield Violation("P8", message, "its completion was called after it was cleared")
            yield from _runs_on("P8", evidence, message, clear.end)
            for stream in evidence.streams_of(message):
                if stream.opened.at < clear.end and _is_late(
                    evidence, stream, stream.told_at, clear.end
                ):
                    yield Violation("P8", message, f"{stream.where} was not told of the clear")
    for stream in evidence.streams.values():
        message = stream.opened.message
        if (
            stream.closed is not None
            and stream.closed.code == "MESSAGE_CLEARED"
            and not any(clear.begin < stream.closed.at for clear in evidence.clears_of(message))
        ):
            yield Violation("P8", message, f"{stream.where}: it was cleared, says the server")


# Lags


def prompt(evidence: Evidence) -> Iterator[Violation]:
    """A follower is woken when there is news; it does not find out by chance."""
    for stream in evidence.streams.values():
        lag = max(evidence.lags(stream), default=0.0)
        if lag > LAG_SECONDS:
            yield Violation(
                "lag", stream.opened.message, f"a word took {lag:.1f} s ({stream.where})"
            )


# Windows


def in_step(evidence: Evidence) -> Iterator[Violation]:
    """The events of a conversation lead to what its list shows; none is missing, old or double."""
    stored = {listed.conversation: listed for listed in evidence.stored()}
    for window in evidence.windows.values():
        try:
            shown = _replayed(window)
        except ValueError as error:
            yield Violation("windows", window.opened.conversation, f"{error} ({window.where})")
            continue
        listed = stored.get(window.opened.conversation)
        if (
            listed is not None
            and window.closed is not None
            and window.closed.at > evidence.settled_at
            and window.closed.how == Ending.LEFT
            and list(shown.values()) != list(listed.rows)
        ):
            yield Violation(
                "windows",
                window.opened.conversation,
                f"the window and the list differ {_difference(shown, listed)} ({window.where})",
            )


def _replayed(window: Window) -> dict[str, Row]:
    shown: dict[str, Row] = {}
    for number, event in enumerate(window.events):
        if event.reset:
            shown = {row.id: row for row in event.rows}
            continue
        if number == 0:
            raise ValueError("the first event is no reset")
        [row] = event.rows
        known = shown.get(row.id)
        if row.reply_to is None or row.status == STREAMING:
            if known is not None:
                raise ValueError(f"{row.id} was added twice")
            if row.reply_to is not None and row.content:
                raise ValueError(f"{row.id} was not added empty")
            if shown and row.created_at <= max(other.created_at for other in shown.values()):
                raise ValueError(f"{row.id} was added out of order")
        elif known is None:
            raise ValueError(f"{row.id} ended before it was added")
        elif known.status != STREAMING:
            raise ValueError(f"{row.id} ended twice")
        shown[row.id] = row
    return shown


def _difference(shown: dict[str, Row], listed: Listed) -> str:
    there = {row.id: row for row in listed.rows}
    ids = [id for id in shown.keys() | there.keys() if shown.get(id) != there.get(id)]
    return f"in {', '.join(sorted(ids))}" if ids else "in their order"


# Processes


def sound(evidence: Evidence) -> Iterator[Violation]:
    """No process dies or spins, refusals have their reasons, and nobody is left without answer."""
    for defect in evidence.defects:
        yield Violation("sound", defect.process, defect.what)
    for outage in evidence.outages:
        seconds = outage.end - outage.begin
        for process, burned in outage.cpu_seconds.items():
            if seconds > 1 and burned > BUSY * seconds:
                yield Violation(
                    "sound",
                    process,
                    f"it burned {burned:.1f} s of CPU in {seconds:.1f} s of outage",
                )
    for failed in evidence.failures:
        hindered = evidence.is_hindered(
            failed.process, failed.begin, failed.end, grace=RECOVERY_SECONDS
        )
        if failed.code not in ("STORE_UNAVAILABLE", "timeout", "lost"):
            yield Violation("sound", failed.process, f"{failed.what} failed with {failed.code}")
        elif not hindered:
            yield Violation(
                "sound", failed.process, f"{failed.what} failed for no reason: {failed.code}"
            )
    for stream in evidence.streams.values():
        if (sentence := _closed_for_no_reason(evidence, stream)) is not None:
            yield Violation("sound", stream.opened.message, f"{stream.where}: {sentence}")


def _closed_for_no_reason(evidence: Evidence, stream: Stream) -> str | None:
    opened, closed = stream.opened, stream.closed
    if closed is None:
        return None
    if closed.how == Ending.LOST and evidence.ended_at(opened.process) > closed.at:
        return f"the server closed the socket ({closed.code})"
    if closed.how != Ending.REFUSED:
        return None
    hindered = evidence.is_hindered(opened.process, opened.at, closed.at, grace=RECOVERY_SECONDS)
    match closed.code:
        case "MESSAGE_CLEARED" | "MESSAGE_ID_CONFLICT":
            return None  # Judged above.
        case "MESSAGE_NOT_FOUND" if evidence.clears_of(opened.message):
            return None
        case "STORE_UNAVAILABLE" if hindered:
            return None
    return f"the stream was refused with {closed.code}"


# Copies


def salvaged(evidence: Evidence) -> Iterator[Violation]:
    """A store whose end was torn off shows what there was at one earlier moment, and nothing else.

    What was seen for sure before the newest thing that a copy has, the copy has too.
    """
    for copy in evidence.salvages:
        for sentence in _torn(evidence, copy):
            yield Violation("P2", copy.copy, sentence)


def _torn(evidence: Evidence, copy: Salvaged) -> Iterator[str]:
    lengths: dict[str, int] = {}
    newest = 0.0
    there = {row.id for row in copy.rows}
    for row in copy.rows:
        message = row.reply_to or row.id
        draft = evidence.drafts.get(message)
        if draft is None:
            yield f"it has {row.id}, which nobody sent"
            continue
        sent = min((stream.opened.at for stream in evidence.streams_of(message)), default=0.0)
        newest = max(newest, sent)
        if row.reply_to is None:
            if (row.content, row.status) != (draft.content, DONE):
                yield f"it shows {row.id} altered"
            if not any(other.reply_to == row.id for other in copy.rows):
                yield f"it has {row.id} without its reply"
            continue
        if row.reply_to not in there:
            yield f"it has a reply without its message {row.reply_to}"
        content = units(row.content)
        lengths[message] = len(content) // 2
        if not units(draft.answer).startswith(content):
            yield f"its text of {message} is no beginning of the answer"
        for said in evidence.said[message]:
            # What was said with or before the last word that is there.
            if said.units <= lengths[message]:
                newest = max(newest, said.at)
        yield from _torn_ending(evidence, copy, row, message)
    for message, sights in evidence.sights.items():
        for sight in sights:
            if sight.end < newest and lengths.get(message, -1) < sight.length:
                had = f"{lengths[message]} units of it" if message in lengths else "nothing of it"
                yield f"it lacks {message}, shown up to {sight.length} before; it has {had}"
                break


def _torn_ending(evidence: Evidence, copy: Salvaged, row: Row, message: str) -> Iterator[str]:
    length = len(units(row.content)) // 2
    if row.status == STREAMING:
        if copy.ended:
            yield f"{message} streams for ever"
    elif row.status == DONE:
        if length != evidence.answer_length(message):
            yield f"{message} is DONE without its text"
    elif row.status == STOPPED:
        if not any(
            stop.message == message and stop.begin < copy.taken_at for stop in evidence.stops
        ):
            yield f"{message} is STOPPED, and nobody had asked for that"
        first = evidence.first_final(message)
        if first is not None and first.status == STOPPED and first.length != length:
            yield f"{message} is STOPPED at {length} units, and was at {first.length}"
    elif row.error != PRODUCER_LOST:
        yield f"{message} ended as {row.status} {row.error}"
