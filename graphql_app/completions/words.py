"""Cutting a text into words, for completions that pretend to think."""

import re
from collections.abc import Iterator

_WORD = re.compile(r"\s*\S+|\s+")


def words(text: str) -> Iterator[str]:
    """The words of a text, each with the separators before it; joined they are the text."""
    return (match.group() for match in _WORD.finditer(text))
