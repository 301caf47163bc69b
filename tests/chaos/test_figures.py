"""The figures that a history yields."""

from tests.chaos.figures import Figures, measure
from tests.chaos.history import Killed, Said
from tests.chaos.test_checker import Tale


def test_a_truth_counts_from_the_kill_to_the_first_who_knows() -> None:
    tale = Tale()
    tale.call()
    tale.add(Killed(2.0, "p0"))
    lost = ("ERROR", "PRODUCER_LOST")
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), (5.5, 3, "", *lost), process="p1")
    tale.stream(1, (1.1, 0, "Hi ", "STREAMING"), (4.5, 3, "", *lost), process="p2")
    figures = measure(tale.events)
    assert (figures.kills, figures.lost, figures.truths) == (1, 1, [2.5])


def test_a_lag_counts_words_that_a_follower_elsewhere_was_waiting_for() -> None:
    tale = Tale()
    tale.call(10.0)
    tale.add(Said(10.1, "m0", 3), Said(10.5, "m0", 5), Said(10.6, "m0", 11))
    tale.stream(
        10,
        (10.2, 0, "Hi ", "STREAMING"),
        (10.75, 3, "😀 there", "DONE"),
        process="p1",
    )
    lags = [round(lag, 3) for lag in measure(tale.events).lags]
    assert lags == [0.25, 0.15], "the first word was said before the stream was there"


def test_a_lag_near_a_fault_does_not_count() -> None:
    tale = Tale()
    tale.call(10.0)
    tale.add(Killed(11.0, "p2"), Said(10.5, "m0", 11))
    tale.stream(10, (10.2, 0, "", "STREAMING"), (10.75, 0, "Hi 😀 there", "DONE"), process="p1")
    assert measure(tale.events).lags == []


def test_a_lag_at_the_producers_own_process_does_not_count() -> None:
    tale = Tale()
    tale.call(10.0)
    tale.add(Said(10.5, "m0", 11))
    tale.stream(10, (10.2, 0, "", "STREAMING"), (10.75, 0, "Hi 😀 there", "DONE"), process="p0")
    assert measure(tale.events).lags == []


def test_figures_of_several_rounds_add_up() -> None:
    total = Figures()
    total.add(Figures(rounds=1, replies=2, lags=[0.1] * 99))
    total.add(Figures(rounds=1, replies=3, lags=[0.5]))
    assert (total.rounds, total.replies) == (2, 5)
    assert (total.lag(0.5), total.lag(0.99), Figures().lag(0.5)) == (0.1, 0.5, None)
