"""The checker convicts each kind of broken promise, and passes what is as it should be."""

import itertools

from tests.chaos.checker import check
from tests.chaos.history import (
    Away,
    Called,
    Chunk,
    Cleared,
    Closed,
    Defect,
    Drafted,
    Ending,
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
    Stopped,
    Terminated,
    Way,
    WindowClosed,
    WindowEvent,
    WindowOpened,
)

ANSWER = "Hi 😀 there"
LENGTH = 11
"""In UTF-16 code units; the face takes two of them, at 3 and 4."""

LEASE = 2.0
TRUTH = LEASE + 5


def user(message: str = "m0", created_at: str = "1", content: str = "say") -> Row:
    return Row(message, "c0", "USER", content, "DONE", None, None, created_at)


def reply(
    content: str = ANSWER,
    status: str = "DONE",
    error: str | None = None,
    *,
    id: str = "r0",
    to: str = "m0",
    created_at: str = "2",
) -> Row:
    return Row(id, "c0", "ASSISTANT", content, status, error, to, created_at)


class Tale:
    """A history that is written by hand."""

    def __init__(self, *messages: str, store: str = "postgresql") -> None:
        self.events: list[Event] = [Round(store, "by hand", 0, LEASE)]
        self._numbers = itertools.count()
        for message in messages or ("m0",):
            self.add(Drafted(message, "c0", "say", ANSWER))

    def add(self, *events: Event) -> None:
        self.events += events

    def stream(
        self,
        at: float,
        *chunks: tuple[float, int, str, str] | tuple[float, int, str, str, str],
        how: Way = Way.SEND,
        content: str = "",
        message: str = "m0",
        reply: str = "r0",
        process: str = "p0",
        client: str = "ann",
        ending: Ending | None = Ending.FINISHED,
        closed_at: float | None = None,
        code: str | None = None,
    ) -> None:
        """A stream and its chunks: when, offset, text, status and perhaps the error's code."""
        number = next(self._numbers)
        self.add(Opened(at, number, client, process, how, message, content))
        last = at
        for last, offset, text, status, *error in chunks:
            self.add(Chunk(last, number, reply, offset, text, status, error[0] if error else None))
        if ending is not None:
            self.add(Closed(closed_at or last, number, ending, code))

    def call(self, at: float = 1.0, message: str = "m0", process: str = "p0") -> None:
        self.add(Called(at, process, message))

    def done(self, at: float = 1.0, message: str = "m0", reply: str = "r0") -> None:
        """One send, at p0, whose reply ends within a second."""
        self.call(at, message)
        self.stream(
            at,
            (at + 0.1, 0, "", "STREAMING"),
            (at + 0.2, 0, "Hi ", "STREAMING"),
            (at + 1.0, 3, "😀 there", "DONE"),
            message=message,
            reply=reply,
        )
        self.add(Quit(at + 0.9, message))

    def listed(self, begin: float, *rows: Row, process: str = "p1") -> None:
        self.add(Listed(begin, begin + 0.1, "bob", process, "c0", rows))

    def settled(self, at: float, *rows: Row) -> None:
        """The end, and what is stored then."""
        self.add(Settled(at))
        self.listed(at + 0.1, *rows)

    def window(
        self, at: float, *events: tuple[float, bool, tuple[Row, ...]], closed_at: float = 21.0
    ) -> None:
        number = next(self._numbers)
        self.add(WindowOpened(at, number, "p1", "c0"))
        for when, reset, rows in events:
            self.add(WindowEvent(when, number, reset, rows))
        self.add(WindowClosed(closed_at, number, Ending.LEFT))

    def passes(self) -> None:
        assert check(self.events) == []

    def is_convicted(self, promise: str, words: str) -> None:
        """Fails unless there is a violation of the promise whose sentence has these words."""
        found = check(self.events)
        assert any(
            violation.promise == promise and words in violation.sentence for violation in found
        ), found


# What is as it should be


def test_a_reply_that_is_cut_and_resumed_in_every_way_is_fine() -> None:
    tale = Tale()
    tale.done(1)
    said = (1.5, 0, "Hi ", "STREAMING")
    tale.stream(1.1, said, client="bob", process="p1", ending=Ending.LEFT)
    whole = (3.1, 0, ANSWER, "DONE")
    rest = (3.1, 3, "😀 there", "DONE")
    tale.stream(3, whole, client="bob", how=Way.AGAIN, content="Hi ")
    tale.stream(3, whole, client="bob", how=Way.NOTHING, content="Hi ")
    tale.stream(3, rest, client="bob", how=Way.CONTENT, content="Hi ")
    tale.stream(3, rest, client="bob", how=Way.OFFSET, content="Hi ")
    tale.stream(3, (3.1, 2, " 😀 there", "DONE"), client="bob", how=Way.WRONG, content="Hi!")
    tale.settled(20, user(), reply())
    tale.passes()


def test_a_killed_producer_whose_reply_ends_in_time_is_fine() -> None:
    tale = Tale()
    tale.call()
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), closed_at=2.01, ending=Ending.LOST)
    tale.add(Killed(2.0, "p0"))
    tale.listed(3, user(), reply("Hi ", "STREAMING"))
    lost = ("ERROR", "PRODUCER_LOST")
    tale.stream(2.2, (2.3, 0, "Hi ", "STREAMING"), (5, 3, "", *lost), process="p1", how=Way.NOTHING)
    tale.settled(20, user(), reply("Hi ", *lost))
    tale.passes()


def test_a_stopped_reply_is_fine() -> None:
    tale = Tale()
    tale.call()
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), (2.3, 3, "", "STOPPED"))
    tale.add(Stopped(2, 2.1, "bob", "p1", "m0", reply("Hi ", "STOPPED")), Quit(2.5, "m0"))
    tale.settled(20, user(), reply("Hi ", "STOPPED"))
    tale.passes()


def test_a_cleared_conversation_is_fine() -> None:
    tale = Tale()
    tale.done()
    tale.add(Cleared(3, 3.1, "bob", "p1", "c0", True))
    tale.stream(4, how=Way.AGAIN, ending=Ending.REFUSED, code="MESSAGE_CLEARED")
    tale.settled(20)
    tale.passes()


def test_a_window_that_shows_each_change_is_fine() -> None:
    tale = Tale("m0", "m1")
    tale.done(1, "m0", "r0")
    tale.done(5, "m1", "r1")
    old, new = (user(), reply()), (user("m1", "3"), reply(id="r1", to="m1", created_at="4"))
    added = reply("", "STREAMING", id="r1", to="m1", created_at="4")
    tale.window(
        4, (4.1, True, old), (5.1, False, new[:1]), (5.1, False, (added,)), (6.1, False, new[1:])
    )
    tale.settled(20, *old, *new)
    tale.passes()


def test_what_fails_in_an_outage_is_fine() -> None:
    tale = Tale()
    tale.call()
    tale.add(Away(1.5, 4, True, {"p0": 0.1, "p1": 0.1}))
    tale.add(Failed(1.6, 2, "p1", "a list", "STORE_UNAVAILABLE"))
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), (6, 3, "", "ERROR", "PRODUCER_LOST"))
    tale.add(Quit(6, "m0"))
    tale.settled(20, user(), reply("Hi ", "ERROR", "PRODUCER_LOST"))
    tale.passes()


def test_a_reply_that_a_shutdown_ended_is_fine() -> None:
    tale = Tale()
    tale.call()
    tale.add(Terminated(2, 3, "p0"), Quit(2.9, "m0"))
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), ending=Ending.LOST, closed_at=2.1, code="1012")
    tale.settled(20, user(), reply("Hi ", "ERROR", "SERVER_SHUTDOWN"))
    tale.passes()


# P1 exact


def test_a_gap_is_convicted() -> None:
    tale = Tale()
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), (1.2, 5, " there", "DONE"))
    tale.is_convicted("P1", "skips text")


def test_a_doubled_word_is_convicted() -> None:
    tale = Tale()
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), (1.2, 3, "Hi 😀 there", "DONE"))
    tale.is_convicted("P1", "no beginning of the answer")


def test_words_in_another_order_are_convicted() -> None:
    tale = Tale()
    tale.listed(3, user(), reply("Hi there 😀"))
    tale.is_convicted("P1", "no beginning of the answer")


def test_half_a_character_is_convicted() -> None:
    tale = Tale()
    tale.stream(1, (1.1, 0, "Hi \ud83d", "STREAMING"))
    tale.is_convicted("P1", "cuts a character in two")


def test_an_offset_in_the_middle_of_a_character_is_convicted() -> None:
    tale = Tale()
    tale.stream(3, (3.1, 4, "\ude00 there", "DONE"), how=Way.WRONG, content="Hi 😀", process="p1")
    tale.is_convicted("P1", "cuts a character in two")


def test_text_that_comes_again_after_a_resume_is_convicted() -> None:
    tale = Tale()
    tale.stream(3, (3.1, 0, ANSWER, "DONE"), how=Way.CONTENT, content="Hi ")
    tale.is_convicted("P1", "began at 0, not at 3")


def test_text_that_comes_again_within_a_stream_is_convicted() -> None:
    tale = Tale()
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), (1.2, 0, ANSWER, "DONE"))
    tale.is_convicted("P1", "does not follow")


def test_a_chunk_after_the_last_is_convicted() -> None:
    tale = Tale()
    tale.stream(1, (1.1, 0, ANSWER, "DONE"), (1.2, LENGTH, "", "DONE"))
    tale.is_convicted("P1", "followed the one with the final status")


def test_an_end_without_a_final_status_is_convicted() -> None:
    tale = Tale()
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), ending=Ending.BARE)
    tale.is_convicted("P1", "without a final status")


def test_an_error_without_its_status_is_convicted() -> None:
    tale = Tale()
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING", "PRODUCER_LOST"))
    tale.is_convicted("P1", "error without the status")


def test_a_list_without_order_is_convicted() -> None:
    tale = Tale()
    tale.done()
    tale.listed(3, reply(), user())
    tale.is_convicted("P1", "no order")


def test_an_altered_message_of_a_user_is_convicted() -> None:
    tale = Tale()
    tale.done()
    tale.listed(3, user(content="cry"), reply())
    tale.is_convicted("P1", "altered")


# P2 durable


def test_a_word_that_was_shown_and_is_not_stored_is_convicted() -> None:
    tale = Tale()
    tale.call()
    tale.stream(1, (1.1, 0, "Hi 😀", "STREAMING"), ending=Ending.LOST, closed_at=2)
    tale.add(Killed(2, "p0"))
    tale.settled(20, user(), reply("Hi ", "ERROR", "PRODUCER_LOST"))
    tale.is_convicted("P2", "shows 3 units after ann at p0, stream 0 showed 5")


def test_a_client_that_is_shown_less_than_another_was_before_is_convicted() -> None:
    tale = Tale()
    tale.done()
    tale.stream(2.1, (2.2, 0, "Hi ", "STREAMING"), client="bob", ending=Ending.LEFT)
    tale.is_convicted("P2", "shows 3 units after")


def test_a_client_that_may_have_been_answered_earlier_is_not_convicted() -> None:
    tale = Tale()
    tale.done()
    tale.stream(1.9, (2.2, 0, "Hi ", "STREAMING"), client="bob", ending=Ending.LEFT)
    tale.settled(20, user(), reply())
    tale.passes()


def test_a_message_that_was_shown_and_is_gone_is_convicted() -> None:
    tale = Tale()
    tale.done()
    tale.settled(20)
    tale.is_convicted("P2", "lacks it, once shown")


def test_a_reply_without_its_message_is_convicted() -> None:
    tale = Tale()
    tale.done()
    tale.settled(20, reply())
    tale.is_convicted("P2", "reply without its message")


# P4 once


def test_two_replies_to_one_message_are_convicted() -> None:
    tale = Tale()
    tale.done()
    tale.stream(1, (2, 0, ANSWER, "DONE"), reply="r1", client="bob", process="p1")
    tale.is_convicted("P4", "it has 2 replies")


def test_one_reply_to_two_messages_is_convicted() -> None:
    tale = Tale("m0", "m1")
    tale.done(1, "m0", "r0")
    tale.done(1, "m1", "r0")
    tale.is_convicted("P4", "it answers 2 messages")


def test_a_second_completion_is_convicted() -> None:
    tale = Tale()
    tale.done()
    tale.call(1.1, process="p1")
    tale.is_convicted("P4", "called 2 times (p0, p1)")


def test_a_message_that_is_listed_twice_is_convicted() -> None:
    tale = Tale()
    tale.done()
    tale.listed(3, user(), reply(), reply(created_at="3"))
    tale.is_convicted("P4", "has it 2 times")


def test_a_repeated_send_that_conflicts_is_convicted() -> None:
    tale = Tale()
    tale.done()
    tale.stream(3, how=Way.AGAIN, ending=Ending.REFUSED, code="MESSAGE_ID_CONFLICT")
    tale.is_convicted("P4", "conflict")


# P5 final


def test_two_endings_are_convicted() -> None:
    tale = Tale()
    tale.done()
    tale.listed(3, user(), reply(ANSWER, "ERROR", "PRODUCER_LOST"))
    tale.is_convicted("P5", "says ERROR PRODUCER_LOST at 11")


def test_an_ending_that_is_undone_is_convicted() -> None:
    tale = Tale()
    tale.done()
    tale.listed(3, user(), reply(ANSWER, "STREAMING"))
    tale.is_convicted("P5", "says STREAMING after DONE")


def test_a_late_word_of_a_paused_process_is_convicted() -> None:
    tale = Tale()
    tale.call()
    tale.add(Paused(1.2, 6, "p0"))
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), (6.1, 3, "😀", "STREAMING"), ending=Ending.LEFT)
    tale.listed(5, user(), reply("Hi ", "ERROR", "PRODUCER_LOST"))
    tale.is_convicted("P5", "shows 5 units of a reply that ended at 3")


def test_a_reply_that_streams_for_ever_is_convicted() -> None:
    tale = Tale()
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), ending=Ending.LEFT)
    tale.settled(20, user(), reply("Hi ", "STREAMING"))
    tale.is_convicted("P5", "it never ended")
    tale.is_convicted("P5", "streams for ever")


def test_a_reply_that_is_done_too_early_is_convicted() -> None:
    tale = Tale()
    tale.stream(1, (1.1, 0, "Hi ", "DONE"))
    tale.is_convicted("P5", "8 units are missing")


def test_a_stop_that_nobody_asked_for_is_convicted() -> None:
    tale = Tale()
    tale.stream(1, (1.1, 0, "Hi ", "STOPPED"))
    tale.is_convicted("P5", "nobody asked for that")


def test_a_producer_that_is_lost_for_no_reason_is_convicted() -> None:
    tale = Tale()
    tale.call(process="p0")
    tale.add(Killed(1, "p1"), Paused(1, 1.2, "p0"))
    tale.stream(1, (1.1, 0, "Hi ", "ERROR", "PRODUCER_LOST"))
    tale.is_convicted("P5", "nothing had happened to it")


def test_a_shutdown_of_a_server_that_runs_on_is_convicted() -> None:
    tale = Tale()
    tale.call()
    tale.stream(1, (1.1, 0, "Hi ", "ERROR", "SERVER_SHUTDOWN"))
    tale.is_convicted("P5", "nobody had asked")


def test_any_other_error_is_convicted() -> None:
    tale = Tale()
    tale.stream(1, (1.1, 0, "Hi ", "ERROR", "COMPLETION_FAILED"))
    tale.is_convicted("P5", "ended as ERROR COMPLETION_FAILED")


# P6 stop


def test_a_completion_that_runs_on_after_a_stop_is_convicted() -> None:
    tale = Tale()
    tale.call()
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), (2.3, 3, "", "STOPPED"))
    tale.add(Stopped(2, 2.1, "bob", "p1", "m0", reply("Hi ", "STOPPED")), Quit(9, "m0"))
    tale.is_convicted("P6", "ran on at p0")


def test_a_completion_whose_process_stood_still_may_close_after_it() -> None:
    tale = Tale()
    tale.call()
    tale.add(Paused(1.5, 8, "p0"), Quit(9, "m0"))
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), (8.1, 3, "", "STOPPED"))
    tale.add(Stopped(2, 2.1, "bob", "p1", "m0", reply("Hi ", "STOPPED")))
    tale.settled(20, user(), reply("Hi ", "STOPPED"))
    tale.passes()


def test_a_completion_that_outlives_its_reply_is_convicted() -> None:
    tale = Tale()
    tale.call()
    tale.stream(1, (1.1, 0, ANSWER, "DONE"))
    tale.is_convicted("P6", "still runs at p0")


def test_text_after_an_acknowledged_stop_is_convicted() -> None:
    tale = Tale()
    tale.call()
    tale.add(Stopped(2, 2.1, "bob", "p1", "m0", reply("Hi ", "STOPPED")), Quit(2.5, "m0"))
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), (2.3, 3, "😀", "STOPPED"))
    tale.is_convicted("P5", "STOPPED at 5")


# P7 truth


def test_a_dead_process_whose_reply_streams_too_long_is_convicted() -> None:
    tale = Tale()
    tale.call()
    tale.add(Killed(2, "p0"))
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), ending=Ending.LOST, closed_at=2)
    tale.listed(2 + TRUTH + 0.5, user(), reply("Hi ", "STREAMING"))
    tale.is_convicted("P7", "says STREAMING 7.5 s after the end of p0")


def test_an_outage_gives_the_truth_more_time() -> None:
    tale = Tale()
    tale.call()
    tale.add(Killed(2, "p0"), Away(3, 6, True, {"p1": 0.1}))
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), ending=Ending.LOST, closed_at=2)
    tale.listed(6 + TRUTH - 0.5, user(), reply("Hi ", "STREAMING"))
    tale.settled(20, user(), reply("Hi ", "ERROR", "PRODUCER_LOST"))
    tale.passes()


def test_a_follower_that_is_not_told_is_convicted() -> None:
    tale = Tale()
    tale.call()
    tale.add(Killed(2, "p0"))
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), process="p1", ending=Ending.LEFT, closed_at=19)
    tale.settled(10, user(), reply("Hi ", "ERROR", "PRODUCER_LOST"))
    tale.is_convicted("P7", "stream 0 was not told ERROR PRODUCER_LOST in time")


def test_a_follower_at_a_paused_process_that_is_told_when_it_wakes_is_fine() -> None:
    tale = Tale()
    tale.call(process="p0")
    tale.add(Paused(1.2, 12, "p0"), Quit(12.1, "m0"))
    lost = ("ERROR", "PRODUCER_LOST")
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), (12.3, 3, "", *lost))
    tale.listed(5, user(), reply("Hi ", *lost))
    tale.settled(20, user(), reply("Hi ", *lost))
    tale.passes()


# P8 clear


def test_what_comes_back_after_a_clear_is_convicted() -> None:
    tale = Tale()
    tale.done()
    tale.add(Cleared(3, 3.1, "bob", "p1", "c0", True))
    tale.listed(4, user(), reply())
    tale.is_convicted("P8", "shows it after it was cleared")


def test_a_completion_for_what_was_cleared_is_convicted() -> None:
    tale = Tale()
    tale.done()
    tale.add(Cleared(3, 3.1, "bob", "p1", "c0", True))
    tale.call(9)
    tale.is_convicted("P8", "called after it was cleared")


def test_a_follower_that_is_not_told_of_a_clear_is_convicted() -> None:
    tale = Tale()
    tale.call()
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), ending=Ending.LEFT, closed_at=19)
    tale.add(Cleared(3, 3.1, "bob", "p1", "c0", True), Quit(3.2, "m0"))
    tale.is_convicted("P8", "was not told of the clear")


def test_a_clear_that_nobody_asked_for_is_convicted() -> None:
    tale = Tale()
    tale.done()
    tale.stream(4, how=Way.AGAIN, ending=Ending.REFUSED, code="MESSAGE_CLEARED")
    tale.is_convicted("P8", "it was cleared, says the server")


# Lags


def test_a_word_that_comes_by_chance_is_convicted() -> None:
    tale = Tale()
    tale.call(10)
    tale.add(Said(10.5, "m0", LENGTH))
    tale.stream(10, (10.1, 0, "", "STREAMING"), (14, 0, ANSWER, "STREAMING"), process="p1")
    tale.is_convicted("lag", "a word took 3.5 s")


# Windows


def window_tale(*events: tuple[float, bool, tuple[Row, ...]]) -> Tale:
    tale = Tale()
    tale.done()
    tale.window(0.5, *events)
    tale.settled(20, user(), reply())
    return tale


RESET = (0.6, True, ())
ADDED = (1.1, False, (user(),))
STARTED = (1.1, False, (reply("", "STREAMING"),))
ENDED = (2.1, False, (reply(),))


def test_the_events_of_one_send_are_fine() -> None:
    window_tale(RESET, ADDED, STARTED, ENDED).passes()


def test_a_missing_event_is_convicted() -> None:
    window_tale(RESET, ADDED, STARTED).is_convicted("windows", "differ in r0")
    window_tale(RESET, ADDED, ENDED).is_convicted("windows", "ended before it was added")
    window_tale(RESET, STARTED, ENDED).is_convicted("windows", "differ in m0")


def test_an_event_that_comes_twice_is_convicted() -> None:
    window_tale(RESET, ADDED, ADDED, STARTED, ENDED).is_convicted("windows", "added twice")
    window_tale(RESET, ADDED, STARTED, ENDED, ENDED).is_convicted("windows", "ended twice")


def test_events_out_of_order_are_convicted() -> None:
    window_tale(RESET, STARTED, ADDED, ENDED).is_convicted("windows", "out of order")


def test_a_window_that_begins_without_a_reset_is_convicted() -> None:
    window_tale(ADDED, STARTED, ENDED).is_convicted("windows", "no reset")


# Processes


def test_a_process_that_dies_or_logs_a_traceback_is_convicted() -> None:
    tale = Tale()
    tale.add(Defect("p0", "it died by itself, with status 1"))
    tale.is_convicted("sound", "died by itself")


def test_a_process_that_spins_in_an_outage_is_convicted() -> None:
    tale = Tale()
    tale.add(Away(1, 4, True, {"p0": 2.9}))
    tale.is_convicted("sound", "burned 2.9 s")


def test_a_refusal_without_a_reason_is_convicted() -> None:
    tale = Tale()
    tale.add(Failed(1, 2, "p0", "a list", "STORE_UNAVAILABLE"))
    tale.is_convicted("sound", "for no reason")


def test_an_unexpected_error_is_convicted_in_an_outage_too() -> None:
    tale = Tale()
    tale.add(Away(1, 4, True, {"p0": 0.1}), Failed(2, 3, "p0", "a list", "INTERNAL_SERVER_ERROR"))
    tale.is_convicted("sound", "INTERNAL_SERVER_ERROR")


def test_a_request_without_answer_is_convicted() -> None:
    tale = Tale()
    tale.add(Failed(1, 16, "p0", "a stop", "timeout"))
    tale.is_convicted("sound", "for no reason: timeout")


def test_a_socket_that_the_server_drops_is_convicted() -> None:
    tale = Tale()
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), ending=Ending.LOST, closed_at=2, code="1006")
    tale.is_convicted("sound", "closed the socket (1006)")


def test_a_reply_that_was_shown_and_is_not_found_is_convicted() -> None:
    tale = Tale()
    tale.done()
    tale.stream(3, how=Way.CONTENT, ending=Ending.REFUSED, code="MESSAGE_NOT_FOUND")
    tale.is_convicted("sound", "MESSAGE_NOT_FOUND")


# Copies with a torn end


def salvage_tale(*rows: Row, ended: bool = False) -> Tale:
    """Two replies, one after the other; the copy was taken when the second had begun."""
    tale = Tale("m0", "m1")
    tale.add(Said(1.1, "m0", 3), Said(1.9, "m0", LENGTH), Said(5.1, "m1", 3), Said(7, "m1", LENGTH))
    tale.done(1, "m0", "r0")
    tale.done(5, "m1", "r1")
    tale.add(Salvaged(6, "copy0", ended, rows))
    new = (user("m1", "3"), reply(id="r1", to="m1", created_at="4"))
    tale.settled(20, user(), reply(), *new)
    return tale


NEWER = (
    user("m1", "3"),
    reply("Hi ", "STREAMING", id="r1", to="m1", created_at="4"),
)


def test_any_earlier_state_is_fine() -> None:
    salvage_tale().passes()
    salvage_tale(user(), reply("", "STREAMING")).passes()
    salvage_tale(user(), reply("Hi ", "STREAMING")).passes()
    salvage_tale(user(), reply()).passes()
    salvage_tale(user(), reply(), *NEWER).passes()
    salvage_tale(user(), reply("Hi ", "ERROR", "PRODUCER_LOST"), ended=True).passes()


def test_a_state_that_has_the_newer_without_the_older_is_convicted() -> None:
    salvage_tale(*NEWER).is_convicted("P2", "lacks m0")
    salvage_tale(user(), reply("Hi ", "STREAMING"), *NEWER).is_convicted("P2", "lacks m0")


def test_a_status_without_its_text_is_convicted() -> None:
    salvage_tale(user(), reply("Hi ")).is_convicted("P2", "DONE without its text")


def test_a_message_without_its_reply_is_convicted() -> None:
    salvage_tale(user()).is_convicted("P2", "without its reply")
    salvage_tale(reply()).is_convicted("P2", "without its message")


def test_other_text_is_convicted() -> None:
    salvage_tale(user(), reply("Ho")).is_convicted("P2", "no beginning of the answer")
    salvage_tale(user(content="cry"), reply()).is_convicted("P2", "altered")


def test_a_reply_that_streams_for_ever_in_a_copy_is_convicted() -> None:
    tale = salvage_tale(user(), reply("Hi ", "STREAMING"), ended=True)
    tale.is_convicted("P2", "streams for ever")
