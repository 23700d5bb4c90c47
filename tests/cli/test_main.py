from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import vmkit
from tests.cli.running import Run
from vmkit.cli.app import App
from vmkit.cli.main import COMMANDS, Entry, Main, cli
from vmkit.cli.options import Option, command, option, output_option, pass_app
from vmkit.errors import Forbidden, NotConfirmed, VmkitError


def _load(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli, info_name="vmkit"), name)
    assert found is not None
    return found


def _with_subcommands(name: str, each: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, each
    if isinstance(each, click.Group):
        for inner, command in each.commands.items():
            yield from _with_subcommands(f"{name} {inner}", command)


@pytest.mark.parametrize(("name", "entry"), COMMANDS.items())
def test_the_summary_in_help_is_the_command_s_own(name: str, entry: Entry) -> None:
    assert (_load(name).help or "").partition("\n")[0] == entry.summary


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_explains_itself(name: str) -> None:
    for path, each in _with_subcommands(name, _load(name)):
        assert each.help, path
        assert each.help[0].isupper(), path
        for param in each.params:
            if isinstance(param, click.Option):
                assert param.help, f"{param.opts} of {path} has no help"
                assert isinstance(param, Option), f"{param.opts} of {path} knows no environment variable"


def test_without_arguments_it_shows_help_and_succeeds(run: Run) -> None:
    assert run() == run("--help")
    assert run("--help").code == 0
    assert run("--help").err == ""


def test_help_names_every_command_and_its_summary(run: Run) -> None:
    text = " ".join(run("--help").out.split())
    for name, entry in COMMANDS.items():
        assert f" {name} {entry.summary} " in text


def test_version(run: Run) -> None:
    assert run("--version").out == f"vmkit {vmkit.__version__}\n"


def test_a_mistyped_command_gets_a_proposal(run: Run) -> None:
    ran = run("strat", "web-1")
    assert (ran.code, ran.out) == (2, "")
    assert (
        ran.err == 'error: there is no command vmkit "strat"\nhint: did you mean vmkit start or vmkit restart?\n'
    )


def test_a_command_unlike_any_other_gets_the_list(run: Run) -> None:
    assert run("xyzzy").err.endswith("hint: vmkit --help lists the commands\n")


def test_a_mistyped_option_gets_a_proposal(run: Run) -> None:
    ran = run("stop", "web-1", "--tiemout", "5m")
    assert (ran.code, ran.err) == (2, "error: there is no option --tiemout\nhint: did you mean --timeout?\n")


HELP = "vmkit {} --help shows how it is written"
BAD_OPTIONS = [
    ("stop web-1 --timeout 5", "--timeout: '5' is not a duration", 'say the unit: "5s", "5m" or "5h"?'),
    (
        "stop web-1 --max-changes half",
        "--max-changes: 'half' is neither a number nor a percentage",
        'write a number like "10" or a share like "5%"',
    ),
    (
        "stop web-1 --concurrency 0",
        "invalid value for --concurrency: 0 is not in the range 1<=x<=256",
        HELP.format("stop"),
    ),
    (
        "describe web-1 -o xml",
        "invalid value for -o / --output: 'xml' is not one of 'text', 'json', 'yaml'",
        HELP.format("describe"),
    ),
    (
        "stop",
        "no VM is named",
        "give names, -l SELECTOR, -f FILE, --all for a whole namespace, or -A for all namespaces",
    ),
    ("stop web-1 -A", "give names or --all-namespaces, not both", "VMs are chosen in one way at a time"),
    ("stop --all -l a=b", "give --selector or --all, not both", "--all takes VMs of any labels"),
    ("get --sort-by", "option '--sort-by' requires an argument", HELP.format("get")),
]


@pytest.mark.parametrize(("line", "error", "hint"), BAD_OPTIONS)
def test_bad_options_are_two_lines_and_exit_code_2(run: Run, line: str, error: str, hint: str) -> None:
    ran = run(*line.split())
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"error: {error}\nhint: {hint}\n"


def test_no_kubeconfig_is_an_error_that_says_what_to_do(run: Run) -> None:
    ran = run("get")
    assert (ran.code, ran.out) == (2, "")
    error, hint = ran.err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")


@pytest.mark.parametrize("arguments", [("-o", "json"), ("--output=json",), ("-ojson",)])
def test_under_json_a_failure_is_an_envelope_on_stdout_too(run: Run, arguments: tuple[str, ...]) -> None:
    ran = run("get", *arguments, "--sort-by", "colour")
    document = json.loads(ran.out)
    assert (document["apiVersion"], document["kind"], document["command"]) == ("vmkit.io/v1", "Result", "get")
    assert (document["status"], document["exitCode"], ran.code) == ("failed", 2, 2)
    assert document["errors"][0]["code"] == "Usage"
    assert ran.err.startswith("error: invalid value for --sort-by")


def test_the_environment_can_ask_for_json(run: Run) -> None:
    ran = run("get", "--sort-by", "colour", env={"VMKIT_OUTPUT": "json"})
    assert json.loads(ran.out)["exitCode"] == 2


# --- commands made for the test, on a group of their own -------------------------------------------------------


@click.group("vmkit", cls=Main)
def probe() -> None:
    """A group with the face of the real one."""


@command("probe")
@option("--thing", everywhere=True, type=click.Choice(["a", "b"]), help="A shared option.")
@option("--own", help="An option of its own.")
@output_option()
@pass_app
def probe_command(app: App, thing: str | None, own: str | None, output: str | None) -> None:
    """Show what it was given."""
    app.console.data(f"{thing} {own} {app.console.verbosity} {app.console.color} {app.connection.namespace}")


def _probe(
    *arguments: str, env: dict[str, str] | None = None, body: click.Command = probe_command
) -> tuple[int, str, str]:
    from click.testing import CliRunner

    class Probe(Main):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            return body

    shared = [param for param in cli.params if param.name not in ("verbose", "quiet", "color")]
    group = Probe("vmkit", params=shared)
    result = CliRunner().invoke(group, list(arguments), env=env)
    return result.exit_code, result.stdout, result.stderr


def test_values_come_from_the_command_line_then_its_variable_then_the_shared_one() -> None:
    env = {"VMKIT_THING": "a", "VMKIT_PROBE_OWN": "x"}
    assert _probe("probe", env=env)[1].split()[:2] == ["a", "x"]
    assert _probe("probe", env=env | {"VMKIT_PROBE_THING": "b"})[1].split()[0] == "b"
    assert _probe("probe", "--thing", "b", env=env)[1].split()[0] == "b"
    assert _probe("probe", env={"VMKIT_OWN": "x"})[1].split()[1] == "None"


def test_a_shared_variable_that_does_not_fit_a_command_is_not_for_it() -> None:
    assert _probe("probe", env={"VMKIT_THING": "z"})[1].split()[0] == "None"
    code, _, err = _probe("probe", env={"VMKIT_PROBE_THING": "z"})
    assert (code, err.splitlines()[0]) == (2, "error: invalid value for --thing: 'z' is not one of 'a', 'b'")


def test_shared_options_may_stand_before_and_after_the_command() -> None:
    assert _probe("-v", "probe", "-v")[1].split()[2] == "2"
    assert _probe("-q", "probe")[1].split()[2] == "-1"
    assert _probe("-n", "before", "probe")[1].split()[4] == "before"
    assert _probe("probe", env={"VMKIT_NAMESPACE": "env"})[1].split()[4] == "env"
    assert _probe("-n", "before", "probe", env={"VMKIT_NAMESPACE": "env"})[1].split()[4] == "before"
    assert _probe("--color", "probe", "--no-color")[1].split()[3] == "False"


def _raising(error: BaseException) -> click.Command:
    @command("probe")
    @output_option()
    def raising(output: str | None) -> None:
        """Fail."""
        raise error

    return raising


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (NotConfirmed("nobody said yes", hint="say --yes"), 5, "error: nobody said yes\nhint: say --yes\n"),
        (Forbidden("you may not", where="default/web-1"), 3, "error: default/web-1: you may not\n"),
        (VmkitError("two\nlines \x1b[31m"), 1, "error: two\\nlines \\x1b[31m\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
    ],
)
def test_every_failure_is_lines_and_a_code(error: BaseException, code: int, said: str) -> None:
    assert _probe("probe", body=_raising(error)) == (code, "", said)


def test_a_mistake_in_vmkit_leaves_its_traceback_in_a_file_and_one_line_on_stderr(tmp_path: Path) -> None:
    code, out, err = _probe("probe", env={"TMPDIR": str(tmp_path)}, body=_raising(ValueError("oh no")))
    assert (code, out) == (70, "")
    error, hint = err.splitlines()
    assert error == "error: vmkit itself failed: ValueError: oh no"
    path = Path(hint.partition("the traceback is in ")[2].partition(";")[0])
    assert "raise error" in path.read_text()
    path.unlink()


def test_vmkit_debug_shows_the_traceback() -> None:
    code, _, err = _probe("probe", env={"VMKIT_DEBUG": "1"}, body=_raising(ValueError("oh no")))
    assert code == 70
    assert "Traceback (most recent call last)" in err


def test_a_reader_who_goes_away_is_no_error(tmp_path: Path) -> None:
    program = (
        "from vmkit.cli.console import Console; import sys, click\n"
        "from vmkit.cli.main import Main\n"
        "from vmkit.cli.options import command, pass_app\n"
        "@command('many')\n@pass_app\ndef many(app):\n    'Write much.'\n"
        "    for number in range(100000): app.console.data(f'line {number}')\n"
        "class Probe(Main):\n    def get_command(self, ctx, name): return many\n"
        "Probe('vmkit')(['many'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"line 0\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 141


def test_a_full_disk_is_said() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a descriptor is wanted
        done = subprocess.run(
            [sys.executable, "-m", "vmkit", "--help"], check=False, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (1, "error: stdout cannot be written: No space left on device\n")


def test_closed_streams_are_no_mistake() -> None:
    done = subprocess.run(["sh", "-c", f"{sys.executable} -m vmkit --help >&- 2>&- <&-"], check=False)
    assert done.returncode == 0
