"""How far a long run is: a changing line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import shutil
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from vmkit.report.text import escape_text

if TYPE_CHECKING:
    from vmkit.cli.console import Console

_REDRAW_SECONDS: Final = 0.1
_PLAIN_SECONDS: Final = 30.0
"""Where the line cannot change (a log of a pipeline), one line in this time says that work goes on."""
_BAR_CELLS: Final = 20


class ProgressLine:
    """One line about a run: what it does, how many of how many, what is happening now.

    Nothing is shown until the work has taken a moment, so that quick commands stay silent.

    Args:
        console: where to write.
        label: what is being done ("stopping").
        total: how many objects; None while unknown.
    """

    def __init__(self, console: Console, label: str, *, total: int | None = None) -> None:
        self._console = console
        self._label = label
        self._total = total
        self._done = 0
        self._text = ""
        self._started = time.monotonic()
        self._next_draw = self._started + 2 * _REDRAW_SECONDS
        self._next_plain = self._started + _PLAIN_SECONDS
        self.drawn = False
        """Whether the terminal's last line is this one at the moment."""

    def __enter__(self) -> Self:
        self._console.show_progress(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.drawn:
            self._console.draw("")
            self.drawn = False
        self._console.show_progress(None)

    def update(self, *, done: int | None = None, total: int | None = None, text: str | None = None) -> None:
        """Says how far it is; what is not given stays. Cheap: call it as often as there is news."""
        if done is not None:
            self._done = done
        if total is not None:
            self._total = total
        if text is not None:
            self._text = text
        now = time.monotonic()
        if self._console.live:
            if now >= self._next_draw:
                self._next_draw = now + _REDRAW_SECONDS
                self._console.draw(self._line(width=shutil.get_terminal_size().columns))
                self.drawn = True
        elif now >= self._next_plain:
            self._next_plain = now + _PLAIN_SECONDS
            self._console.note(self._line(width=200))

    def advance(self, text: str | None = None) -> None:
        """One more is done."""
        self.update(done=self._done + 1, text=text)

    def _line(self, *, width: int) -> str:
        parts = [self._label]
        if self._total:
            share = min(self._done / self._total, 1.0)
            full = round(share * _BAR_CELLS)
            parts += [f"[{'#' * full}{'.' * (_BAR_CELLS - full)}]", f"{self._done}/{self._total}"]
        elif self._done:
            parts.append(str(self._done))
        seconds = int(time.monotonic() - self._started)
        parts.append(f"{seconds // 60}:{seconds % 60:02d}")
        if self._text:
            parts.append(escape_text(self._text))
        return " ".join(parts)[: max(width - 1, 10)]
