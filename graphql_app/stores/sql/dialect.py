"""What SQLite and PostgreSQL say each in their own way."""

from abc import ABC, abstractmethod
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Subquery, Table


class Dialect(ABC):
    """The parts that statements are made of, where databases differ."""

    @property
    @abstractmethod
    def now(self) -> ColumnElement[int]:
        """The database's time, in microseconds since 1970."""

    @abstractmethod
    def given(self, *columns: str) -> Subquery:
        """The rows of the JSON array in the parameter `given`, as a table of `columns`."""

    @abstractmethod
    def joined(self, *where: ColumnElement[bool]) -> ScalarSelect[str]:
        """The text of those pieces, in order."""

    @abstractmethod
    def insert_or_ignore(self, table: Table) -> Any:
        """An INSERT that leaves rows alone that are there."""

    @abstractmethod
    def insert_or_update(
        self, table: Table, values: dict[str, Any], changes: dict[str, Any]
    ) -> Any:
        """An INSERT that changes the row instead, if it is there."""
