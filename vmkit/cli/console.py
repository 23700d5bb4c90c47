"""The only writer to stdout and stderr.

stdout is data: what was asked for, and nothing else. Everything else (notices, warnings, questions, progress,
errors) goes to stderr, one line each. Text that came from a cluster is made safe before it is written.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TextIO, cast

from vmkit.report.text import escape_text

if TYPE_CHECKING:
    from vmkit.cli.progress import ProgressLine
    from vmkit.errors import VmkitError

_STYLES: Final = {"good": "32", "bad": "31", "warn": "33", "note": "36", "dim": "2", "strong": "1"}
_FALSE: Final = frozenset({"", "0", "false", "no", "off"})


def choose_color(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether a stream gets colours when nobody said so: a terminal does, unless NO_COLOR or TERM=dumb.

    NO_COLOR counts when it is not empty, whatever it holds (https://no-color.org); FORCE_COLOR likewise, unless it
    is a way to write "no".
    """
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "").lower() not in _FALSE:
        return True
    return environ.get("TERM") != "dumb" and _is_terminal(stream)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


@functools.cache
def _nowhere(mode: str) -> TextIO:
    """In place of a stream the process was started without (``vmkit get >&-``): Python then has None there."""
    return cast("TextIO", open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123 - open to the end


@contextmanager
def _telling() -> Iterator[None]:
    """Turns what the system says about stdout into an error for people; a reader who left stays what it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        from vmkit.errors import VmkitError

        raise VmkitError(f"stdout cannot be written: {error.strerror}") from error


def _place_of(error: VmkitError) -> str:
    """Where an error is, as compilers write it ("debian.yaml:12:5"), unless its message says so."""
    from vmkit.errors import PositionedError

    place = error.where
    if place and isinstance(error, PositionedError) and error.line is not None:
        column = f":{error.column}" if error.column is not None else ""
        return f"{place}:{error.line}{column}"
    return "" if place in error.message else place


class Console:
    """Writes lines; knows about colours, quietness, terminals and closed pipes. Safe to use from many threads.

    Args:
        stdin, stdout, stderr: the streams; None takes the process's own, looked up at each use, so that
            redirection after construction is honoured.
        environ: where NO_COLOR and its like are read.
    """

    def __init__(
        self,
        *,
        stdin: TextIO | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._stdin, self._stdout, self._stderr = stdin, stdout, stderr
        self._environ = os.environ if environ is None else environ
        self._lock = threading.RLock()
        self._progress: ProgressLine | None = None
        self._hints_given: set[str] = set()
        self.color: bool | None = None
        """What --color or --no-color said; None leaves it to the terminal and the environment."""
        self.verbosity = 0
        """-v counts up, -q counts down."""
        self.stdout_closed = False
        """Whoever read stdout has gone: writing went on without it."""

    # --- the streams ---

    @property
    def stdin(self) -> TextIO:
        return self._stdin or sys.stdin or _nowhere("r")

    @property
    def stdout(self) -> TextIO:
        return self._stdout or sys.stdout or _nowhere("w")

    @property
    def stderr(self) -> TextIO:
        return self._stderr or sys.stderr or _nowhere("w")

    @property
    def interactive(self) -> bool:
        """Whether somebody sits there who can be asked."""
        return _is_terminal(self.stdin) and _is_terminal(self.stderr)

    @property
    def live(self) -> bool:
        """Whether stderr can show a line that changes."""
        return _is_terminal(self.stderr) and self._environ.get("TERM") != "dumb" and self.verbosity >= 0

    def style(self, text: str, role: str, *, stream: TextIO | None = None) -> str:
        """The text in its role's colour (good, bad, warn, note, dim, strong), where the stream has colours."""
        stream = self.stdout if stream is None else stream
        wanted = choose_color(stream, self._environ) if self.color is None else self.color
        return f"\x1b[{_STYLES[role]}m{text}\x1b[0m" if wanted else text

    # --- data ---

    def data(self, text: str) -> None:
        """Writes rendered data to stdout, exactly; a missing newline at its end is added.

        Raises:
            BrokenPipeError: nobody reads any more; `main` ends the process quietly.
            VmkitError: it cannot be written, for example because the disk is full.
        """
        if text and not text.endswith("\n"):
            text += "\n"
        with _telling():
            self._write(self.stdout, text)

    def pieces(self, texts: Iterable[str]) -> None:
        """Writes rendered data that comes in pieces; raises what `data` raises."""
        for text in texts:
            with _telling():
                self._write(self.stdout, text)

    def report(self, text: str, *, role: str = "") -> None:
        """Writes one line to stdout about something that has been done; a reader who has gone stops nothing."""
        line = escape_text(text)
        self.report_document(self.style(line, role) if role else line)

    def report_document(self, text: str) -> None:
        """Writes rendered data like `data`, but a reader who has gone stops nothing."""
        if self.stdout_closed:
            return
        try:
            self.data(text)
            self.close()
        except BrokenPipeError:
            self.stdout_closed = True

    # --- everything else ---

    def note(self, text: str) -> None:
        """One line on stderr; -q leaves it out."""
        if self.verbosity >= 0:
            self._say(escape_text(text))

    def warn(self, text: str) -> None:
        """One "warning:" line on stderr; -qq leaves it out."""
        if self.verbosity >= -1:
            self._say(f"{self.style('warning:', 'warn', stream=self.stderr)} {escape_text(text)}")

    def debug(self, text: str) -> None:
        """One line on stderr under -v."""
        if self.verbosity >= 1:
            self._say(self.style(escape_text(text), "dim", stream=self.stderr))

    def error(self, error: VmkitError, *, prefix: str = "") -> None:
        """Two lines on stderr at most: what is wrong, and what to do. A hint is said once a run.

        Args:
            prefix: what did not happen ("default/web-1 not stopped"); the object is then not named again.
        """
        message = error.message
        if prefix:
            for named in (f"VirtualMachine {error.where}: ", f"{error.where}: "):
                message = message.removeprefix(named) if error.where and error.where in prefix else message
            message = f"{prefix}: {message}"
        elif place := _place_of(error):
            message = f"{place}: {message}"
        self.problem(message)
        self.hint(error.hint)

    def problem(self, text: str) -> None:
        """One "error:" line on stderr."""
        self._say(f"{self.style('error:', 'bad', stream=self.stderr)} {escape_text(text)}")

    def hint(self, text: str) -> None:
        """One "hint:" line on stderr, unless it is empty or was said before in this run."""
        if text and text not in self._hints_given:
            self._hints_given.add(text)
            self._say(f"{self.style('hint:', 'note', stream=self.stderr)} {escape_text(text)}")

    def ask(self, question: str) -> bool:
        """Asks on stderr, reads one line from stdin; only "y" and "yes" are yes. Ask only when `interactive`."""
        with self._lock:
            self._clear_progress()
            self._write(self.stderr, f"{escape_text(question)} [y/N] ", flush=True)
            answer = self.stdin.readline()
        if not answer.endswith("\n"):  # end of input: the cursor still stands behind the question
            self._say("")
        return answer.strip().lower() in ("y", "yes")

    def traceback(self, text: str) -> None:
        """Writes a traceback to stderr, for VMKIT_DEBUG=1."""
        self._say(text.rstrip("\n"))

    # --- progress ---

    def progress(self, label: str, *, total: int | None = None) -> ProgressLine:
        """A line on stderr that shows how far a long run is; see `ProgressLine`. Use it as a context manager."""
        from vmkit.cli.progress import ProgressLine

        return ProgressLine(self, label, total=total)

    def show_progress(self, line: ProgressLine | None) -> None:
        """Called by `ProgressLine`: the line that other output has to make room for."""
        with self._lock:
            self._progress = line

    def draw(self, text: str) -> None:
        """Called by `ProgressLine`: replaces the terminal's last line on stderr."""
        with self._lock:
            self._write(self.stderr, f"\r\x1b[2K{text}", flush=True)

    def _clear_progress(self) -> None:
        if self._progress is not None and self._progress.drawn:
            self._write(self.stderr, "\r\x1b[2K", flush=True)
            self._progress.drawn = False

    # --- writing ---

    def _say(self, line: str) -> None:
        # Nobody reads stderr: there is no way left to say so, and no reason to stop working.
        with suppress(BrokenPipeError):
            self._write(self.stderr, line + "\n", flush=True)

    def _write(self, stream: TextIO, text: str, *, flush: bool = False) -> None:
        with self._lock:
            if not text.startswith("\r"):
                self._clear_progress()
            try:
                stream.write(text)
            except UnicodeEncodeError:
                # A terminal that is not UTF-8 (LC_ALL=C): what it cannot show is escaped, nothing is lost.
                encoding = stream.encoding or "ascii"
                stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            if flush:
                stream.flush()

    def close(self) -> None:
        """Writes out what is still held back; raises what `data` raises."""
        if not self.stdout_closed:
            with _telling():
                self.stdout.flush()

    def give_up_stdout(self) -> None:
        """Lets everything still held back for stdout go nowhere.

        The interpreter flushes stdout once more when it ends, and would complain about the pipe that is closed.
        """
        self.stdout_closed = True
        try:
            descriptor = self.stdout.fileno()
        except (OSError, ValueError):
            return
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a descriptor is wanted, not a path
            os.dup2(nowhere.fileno(), descriptor)
