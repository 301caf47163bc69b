"""Who is woken by what, and how topics are named between processes."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_app.interfaces import Lease, Topic
from graphql_app.messages import ConversationRef, Ref
from graphql_app.stores.watchers import (
    NAME_LENGTH,
    Watchers,
    joined_names,
    split_names,
    topic_name,
)


@pytest.fixture
def watchers() -> Watchers[str]:
    return Watchers()


@pytest.fixture
def woken() -> list[str]:
    """Who was woken, in order."""
    return []


def test_all_watchers_of_a_topic_are_woken_and_no_others(
    watchers: Watchers[str], woken: list[str]
) -> None:
    for who, topic in (("ann", "a"), ("bob", "b"), ("amy", "a")):
        watchers.add(topic, lambda who=who: woken.append(who))  # type: ignore[misc]
    watchers.wake(["a", "unknown"])
    assert woken == ["ann", "amy"]


def test_all_are_woken_when_news_may_have_been_lost(
    watchers: Watchers[str], woken: list[str]
) -> None:
    for who, topic in (("ann", "a"), ("bob", "b"), ("amy", "a")):
        watchers.add(topic, lambda who=who: woken.append(who))  # type: ignore[misc]
    watchers.wake_all()
    assert sorted(woken) == ["amy", "ann", "bob"]


def test_the_same_function_may_watch_twice(watchers: Watchers[str], woken: list[str]) -> None:
    def wake() -> None:
        woken.append("ann")

    unwatch, _ = watchers.add("a", wake), watchers.add("a", wake)
    watchers.wake("a")
    unwatch()
    watchers.wake("a")
    assert woken == ["ann"] * 3


def test_who_no_longer_watches_is_not_woken(watchers: Watchers[str], woken: list[str]) -> None:
    unwatch = watchers.add("a", lambda: woken.append("ann"))
    watchers.add("a", lambda: woken.append("bob"))
    unwatch()
    unwatch()
    watchers.wake("a")
    assert woken == ["bob"]


def test_unwatching_late_does_not_hurt_who_watches_since(
    watchers: Watchers[str], woken: list[str]
) -> None:
    unwatch = watchers.add("a", lambda: woken.append("ann"))
    unwatch()
    watchers.add("a", lambda: woken.append("bob"))
    unwatch()
    watchers.wake("a")
    assert woken == ["bob"]


def test_who_is_woken_may_stop_watching_and_stop_others_and_begin_to_watch(
    watchers: Watchers[str], woken: list[str]
) -> None:
    unwatch: dict[str, Callable[[], None]] = {}

    def wake() -> None:
        woken.append("ann")
        unwatch["ann"]()
        unwatch["bob"]()
        watchers.add("a", lambda: woken.append("new"))

    unwatch["ann"] = watchers.add("a", wake)
    unwatch["bob"] = watchers.add("a", lambda: woken.append("bob"))
    watchers.add("a", lambda: woken.append("cat"))
    watchers.wake("a")
    assert woken == ["ann", "cat"]
    watchers.wake("a")
    assert woken == ["ann", "cat", "cat", "new"]


def test_who_is_woken_with_all_may_stop_watching(watchers: Watchers[str], woken: list[str]) -> None:
    unwatch: list[Callable[[], None]] = []

    def wake() -> None:
        woken.append("somebody")
        for each in unwatch:
            each()

    unwatch.extend(watchers.add(topic, wake) for topic in "abc")
    watchers.wake_all()
    assert woken == ["somebody"]
    assert len(watchers) == 0


def test_watchers_are_counted_and_nothing_is_left_of_those_that_are_gone(
    watchers: Watchers[str],
) -> None:
    gone = [watchers.add(topic, lambda: None) for topic in ("a", "a", "b")]
    assert len(watchers) == 3
    assert set(watchers.topics()) == {"a", "b"}
    for unwatch in gone:
        unwatch()
    assert len(watchers) == 0
    assert watchers.topics() == ()


# Names

TOPICS: list[Topic] = [
    *(kind(*names) for kind in (Ref, ConversationRef) for names in itertools.product("ab", "ab")),
    *(
        kind(owner, id)
        for kind in (Ref, ConversationRef)
        for owner, id in (("a b", "c"), ("a", "b c"))
    ),
    *(
        kind(owner, id)
        for kind in (Ref, ConversationRef)
        for owner, id in (("1 a", "b"), ("", "1 a b"))
    ),
    Ref("", "a"),
    Ref("a", ""),
    Lease("a", 1),
    Lease("b", 1),
    Ref("日😀" * 64, "👧" * 128),
]


def test_topics_have_different_short_names_that_say_nothing() -> None:
    names = [topic_name(topic) for topic in TOPICS]
    assert len(set(names)) == len(TOPICS)
    for name in names:
        assert len(name) == NAME_LENGTH
        assert set(name) <= set("0123456789abcdef")


def test_a_topic_has_the_same_name_in_every_process() -> None:
    """Processes of different versions tell each other, too."""
    assert topic_name(Ref("ann", "m1")) == topic_name(Ref("ann", "m1")) == "b4bba10fc050"


names = st.lists(st.text("0123456789abcdef", min_size=NAME_LENGTH, max_size=NAME_LENGTH))


@given(names, st.integers(NAME_LENGTH, 200))
def test_names_are_joined_into_few_messages_and_split_again(names: list[str], most: int) -> None:
    messages = joined_names(names, most)
    assert all(len(message) <= most for message in messages)
    found = [name for message in messages for name in split_names(message)]
    assert found == list(dict.fromkeys(names))
    fit = most // NAME_LENGTH
    assert len(messages) == (len(found) + fit - 1) // fit


def test_no_names_are_no_message() -> None:
    assert joined_names([], 8_000) == []
    assert split_names("") == []
