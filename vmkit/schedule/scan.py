"""Reading words from a text while knowing the column."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Final, NoReturn

from vmkit.errors import ScheduleError
from vmkit.schedule.days import WEEKDAY_NAMES, WEEKDAYS

MAX_CHARACTERS: Final = 16_384
MAX_RULES: Final = 128

_BLANK: Final = re.compile(r"[ \t]*")
_WORD: Final = re.compile(r"[^\s,;]+")


def check_size(text: object) -> str:
    """The text, if it is one of a length that a person could have written.

    Raises:
        ScheduleError: it is no text, or longer than 16,384 characters.
    """
    if not isinstance(text, str):
        raise ScheduleError(
            f"a schedule is a text, not {type(text).__name__}", hint='such as "Mon-Fri 08:00-18:00 UTC"'
        )
    if len(text) > MAX_CHARACTERS:
        raise ScheduleError(
            f"the schedule is {len(text)} characters long; at most {MAX_CHARACTERS} are read",
            hint="put long lists of days into a calendar file",
            column=MAX_CHARACTERS + 1,
        )
    return text


class Scanner:
    """A position in a text. Columns count from 1."""

    __slots__ = ("position", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    @property
    def column(self) -> int:
        return self.position + 1

    def skip(self, pattern: re.Pattern[str] = _BLANK) -> bool:
        """Moves over what matches; whether that was anything."""
        match = pattern.match(self.text, self.position)
        moved = match is not None and match.end() > self.position
        if match is not None:
            self.position = match.end()
        return moved

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """What matches here, after blanks, moving past it; None, without moving, where nothing does."""
        blank = _BLANK.match(self.text, self.position)
        start = blank.end() if blank is not None else self.position
        match = pattern.match(self.text, start)
        if match is not None:
            self.position = match.end()
        return match

    def peek(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """What matches here, after blanks, without moving past it."""
        self.skip()
        return pattern.match(self.text, self.position)

    @property
    def at_end(self) -> bool:
        self.skip()
        return self.position >= len(self.text)

    def word(self) -> str:
        """The word that stands here, cut to a length fit for a message; empty at the end."""
        self.skip()
        match = _WORD.match(self.text, self.position)
        found = match[0] if match is not None else self.text[self.position : self.position + 1].strip()
        return found if len(found) <= 40 else found[:40] + "…"

    def fail(self, message: str, *, hint: str = "", column: int | None = None) -> NoReturn:
        """Raises a ScheduleError for this place, or the one given."""
        self.skip()
        raise ScheduleError(message, hint=hint, column=self.column if column is None else column)


def find_weekday(word: str) -> int | None:
    """Monday is 0; three letters or the whole name, in any case."""
    low = word.lower()
    if low in WEEKDAYS:
        return WEEKDAYS.index(low)
    if low in WEEKDAY_NAMES:
        return WEEKDAY_NAMES.index(low)
    return None


def suggest(word: str, known: Sequence[str]) -> str:
    """A hint that names the known word nearest to this one; empty where none is near."""
    close = difflib.get_close_matches(word.lower()[:40], [name.lower() for name in known], n=1, cutoff=0.6)
    if not close:
        return ""
    return f'did you mean "{next(name for name in known if name.lower() == close[0])}"?'


def suggest_weekday(word: str) -> str:
    """A hint for a word that should be a weekday."""
    low = word.lower()
    # "Mi", "Thur" and "Tues" begin like one; "Wendesday" is near one.
    by_start = [name for name in WEEKDAYS if low.startswith(name)]
    if by_start:
        return f'did you mean "{by_start[0].title()}"?'
    near = suggest(word, [name.title() for name in WEEKDAYS]) or suggest(
        word, [name.title() for name in WEEKDAY_NAMES]
    )
    return near or "days are Mon Tue Wed Thu Fri Sat Sun"
