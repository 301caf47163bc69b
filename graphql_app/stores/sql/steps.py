"""Steps: what is done on one connection, and what others are to be told of it."""

from dataclasses import dataclass, field

from graphql_app.interfaces import Topic


class UndoError(Exception):
    """Raised by a step that has nothing to write after all; undoes what it did so far."""


@dataclass(slots=True)
class News:
    """What a transaction changes; the watchers of it are told when it is committed."""

    topics: list[Topic] = field(default_factory=list)

    def of(self, *topics: Topic) -> None:
        self.topics.extend(topics)
