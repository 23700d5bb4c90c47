from __future__ import annotations

import io
import threading

import pytest

from vmkit.cli.console import Console, choose_color
from vmkit.errors import NotFound, TemplateError


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class ClosedPipe(io.StringIO):
    """A pipe nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


def _console(stdin: str = "", *, terminal: bool = False, environ: dict[str, str] | None = None) -> Console:
    kind = Terminal if terminal else io.StringIO
    return Console(stdin=kind(stdin), stdout=kind(), stderr=kind(), environ=environ or {})


def _written(console: Console) -> tuple[str, str]:
    assert isinstance(console.stdout, io.StringIO)
    assert isinstance(console.stderr, io.StringIO)
    return console.stdout.getvalue(), console.stderr.getvalue()


@pytest.mark.parametrize(
    ("terminal", "environ", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": "0"}, False),  # any text counts, says no-color.org
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (False, {"FORCE_COLOR": "0"}, False),
        (False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colours_follow_the_terminal_and_the_environment(
    terminal: bool, environ: dict[str, str], expected: bool
) -> None:
    assert choose_color(Terminal() if terminal else io.StringIO(), environ) is expected


def test_what_was_asked_for_beats_the_environment() -> None:
    console = _console(environ={"NO_COLOR": "1"})
    console.color = True
    assert console.style("x", "bad") == "\x1b[31mx\x1b[0m"
    console = _console(terminal=True)
    console.color = False
    assert console.style("x", "bad") == "x"


def test_data_goes_to_stdout_and_everything_else_to_stderr() -> None:
    console = _console()
    console.data("a table")
    console.report("web-1 stopped")
    console.note("a note")
    console.warn("careful")
    console.error(NotFound("there is none", hint="look"))
    assert _written(console) == (
        "a table\nweb-1 stopped\n",
        "a note\nwarning: careful\nerror: there is none\nhint: look\n",
    )


@pytest.mark.parametrize(
    ("verbosity", "said"),
    [
        (1, ["error", "warning", "note", "debug"]),
        (0, ["error", "warning", "note"]),
        (-1, ["error", "warning"]),
        (-2, ["error"]),
    ],
)
def test_quietness_leaves_out_notes_first_then_warnings_never_errors(verbosity: int, said: list[str]) -> None:
    console = _console()
    console.verbosity = verbosity
    console.problem("error")
    console.warn("warning")
    console.note("note")
    console.debug("debug")
    assert [line.rpartition(" ")[2] for line in _written(console)[1].splitlines()] == said


def test_text_of_others_cannot_act_upon_the_terminal() -> None:
    console = _console(terminal=True, environ={"NO_COLOR": "1"})
    console.note("\x1b[2J")
    console.report("\x1b]0;x\x07")
    console.error(NotFound("a\nb", hint="\x9b"))
    assert _written(console) == ("\\x1b]0;x\\x07\n", "\\x1b[2J\nerror: a\\nb\nhint: \\x9b\n")


def test_an_error_names_its_object_once() -> None:
    console = _console()
    console.error(NotFound("there is none", where="default/web-1"))
    console.error(NotFound("default/web-1 is not there", where="default/web-1"))
    console.error(NotFound("there is none", where="default/web-1"), prefix="default/web-1 not started")
    assert _written(console)[1] == (
        "error: default/web-1: there is none\n"
        "error: default/web-1 is not there\n"
        "error: default/web-1 not started: there is none\n"
    )


def test_an_error_in_a_file_names_line_and_column() -> None:
    console = _console()
    console.error(TemplateError("unknown key 'nmae'", where="debian.yaml", line=3, column=5))
    console.error(TemplateError("debian.yaml is empty", where="debian.yaml", line=1))
    assert _written(console)[1] == (
        "error: debian.yaml:3:5: unknown key 'nmae'\nerror: debian.yaml:1: debian.yaml is empty\n"
    )


def test_a_hint_is_given_once_a_run() -> None:
    console = _console()
    for _ in range(3):
        console.error(NotFound("x", hint="look there"))
    assert _written(console)[1] == "error: x\nhint: look there\nerror: x\nerror: x\n"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False), ("yep\n", False)],
)
def test_only_yes_is_yes(answer: str, expected: bool) -> None:
    console = _console(answer, terminal=True)
    assert console.ask("delete default/web-1?") is expected
    assert _written(console)[1].startswith("delete default/web-1? [y/N] ")


def test_it_is_interactive_only_where_somebody_can_read_and_answer() -> None:
    assert _console(terminal=True).interactive
    assert not _console().interactive
    assert not Console(stdin=io.StringIO(), stdout=Terminal(), stderr=Terminal(), environ={}).interactive


def test_a_closed_stdout_stops_no_work_that_reports() -> None:
    console = Console(stdin=io.StringIO(), stdout=ClosedPipe(), stderr=io.StringIO(), environ={})
    console.report("web-1 stopped")
    console.report("web-2 stopped")
    assert console.stdout_closed
    with pytest.raises(BrokenPipeError):
        console.data("a table")


def test_a_closed_stderr_stops_nothing() -> None:
    console = Console(stdin=io.StringIO(), stdout=io.StringIO(), stderr=ClosedPipe(), environ={})
    console.warn("careful")
    console.error(NotFound("x"))
    console.data("still here")
    assert isinstance(console.stdout, io.StringIO)
    assert console.stdout.getvalue() == "still here\n"


def test_what_an_ascii_terminal_cannot_show_is_escaped() -> None:
    raw = io.BytesIO()
    console = Console(
        stdin=io.StringIO(), stdout=io.TextIOWrapper(raw, encoding="ascii"), stderr=io.StringIO(), environ={}
    )
    console.data("grün")
    console.close()
    assert raw.getvalue() == b"gr\\xfcn\n"


def test_quick_work_shows_no_progress() -> None:
    console = _console(terminal=True)
    with console.progress("stopping", total=3) as progress:
        progress.advance()
    assert _written(console) == ("", "")


def test_other_lines_take_the_place_of_the_progress_line() -> None:
    console = _console(terminal=True, environ={"NO_COLOR": "1"})
    with console.progress("stopping", total=4) as progress:
        progress._next_draw = 0.0
        progress.update(done=1, text="web-1")
        console.note("a note")
        progress._next_draw = 0.0
        progress.update(done=2)
    shown = _written(console)[1].split("\r\x1b[2K")
    assert shown[0] == ""
    assert shown[1].startswith("stopping [#####...............] 1/4 0:00 web-1")
    assert shown[2] == "a note\n"
    assert shown[3].startswith("stopping [##########..........] 2/4 0:00 web-1")
    assert shown[4] == ""


def test_where_lines_cannot_change_one_comes_now_and_then() -> None:
    console = _console()
    with console.progress("stopping", total=4) as progress:
        progress._next_plain = 0.0
        progress.update(done=1)
        progress.update(done=2)
    assert _written(console)[1] == "stopping [#####...............] 1/4 0:00\n"


def test_lines_of_many_threads_stay_whole() -> None:
    console = _console()
    threads = [
        threading.Thread(target=lambda n=n: [console.report(f"{n} " * 20) for _ in range(50)]) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(set(line.split())) == 1 for line in _written(console)[0].splitlines())
