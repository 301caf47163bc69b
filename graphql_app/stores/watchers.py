"""Who waits for news of what, in this process."""

from collections.abc import Callable, Hashable, Iterable
from hashlib import blake2b
from typing import Generic, TypeVar

from graphql_app.interfaces import Topic

K = TypeVar("K", bound=Hashable)

NAME_LENGTH = 12


class Watchers(Generic[K]):
    """The watchers of each topic, or of each topic's name."""

    def __init__(self) -> None:
        self._watchers: dict[K, dict[object, Callable[[], None]]] = {}

    def __len__(self) -> int:
        """How many watch something."""
        return sum(map(len, self._watchers.values()))

    def topics(self) -> tuple[K, ...]:
        """What is watched now."""
        return tuple(self._watchers)

    def add(self, topic: K, wake: Callable[[], None]) -> Callable[[], None]:
        """Calls `wake` at each news of a topic, until the returned function is called."""
        watcher = object()
        self._watchers.setdefault(topic, {})[watcher] = wake

        def unwatch() -> None:
            watchers = self._watchers.get(topic, {})
            if watchers.pop(watcher, None) is not None and not watchers:
                del self._watchers[topic]

        return unwatch

    def wake(self, topics: Iterable[K]) -> None:
        for topic in topics:
            self.wake_one(topic)

    def wake_one(self, topic: K) -> None:
        watchers = self._watchers.get(topic)
        if watchers is None:
            return
        if len(watchers) == 1:
            [wake] = watchers.values()
            wake()
            return
        # Who is woken may stop watching, or have others stop.
        for watcher, wake in tuple(watchers.items()):
            if watcher in watchers:
                wake()

    def wake_all(self) -> None:
        """Wakes everybody: some news may have been lost."""
        self.wake(self.topics())


def topic_name(topic: Topic) -> str:
    """A topic as it is named between processes: short, and saying nothing about the topic.

    Two topics with one name would only wake each other's watchers in vain.
    """
    kind = type(topic).__name__
    whose = getattr(topic, "owner", "")
    text = f"{kind} {len(whose)} {whose} {topic.id}"
    return blake2b(text.encode(), digest_size=NAME_LENGTH // 2).hexdigest()


def joined_names(names: Iterable[str], most_bytes: int) -> list[str]:
    """Names in as few messages as they fit into."""
    every = list(dict.fromkeys(names))
    size = most_bytes // NAME_LENGTH
    return ["".join(every[begin : begin + size]) for begin in range(0, len(every), size)]


def split_names(message: str) -> list[str]:
    """The names in a message that `joined_names` made."""
    return [message[begin : begin + NAME_LENGTH] for begin in range(0, len(message), NAME_LENGTH)]
