from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.cli.running import Run
from vmkit.cli.completion import SECONDS_ALLOWED, find_templates
from vmkit.cli.main import COMMANDS, cli


def _complete(run: Run, line: str) -> list[str]:
    """What bash is told for the last word of a line; an empty last word is a space at its end."""
    words = line.split()
    at = len(words) if line.endswith(" ") else len(words) - 1
    ran = run(env={"_VMKIT_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(at)})
    assert (ran.code, ran.err) == (0, "")
    return [entry.partition(",")[2] for entry in ran.out.splitlines() if entry]


def test_commands_and_options_are_completed(run: Run) -> None:
    assert set(_complete(run, "vmkit ")) == set(COMMANDS)
    assert _complete(run, "vmkit st") == ["start", "stop", "stop-idle"]
    assert _complete(run, "vmkit stop --dry") == ["--dry-run"]
    assert _complete(run, "vmkit get -o ") == ["table", "wide", "name", "json", "yaml", "csv"]
    assert _complete(run, "vmkit completion z") == ["zsh"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_asks_vmkit(run: Run, shell: str) -> None:
    ran = run("completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert f"_VMKIT_COMPLETE={shell}_complete" in ran.out


def test_the_script_is_one_that_bash_reads(run: Run) -> None:
    script = run("completion", "bash").out
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_templates_of_a_directory_are_completed(tmp_path: Path) -> None:
    for name in ("debian.yaml", "own-thing.yaml", "notes.txt"):
        (tmp_path / name).write_text("x")
    ctx = click.Context(cli, info_name="vmkit")
    ctx.params["template_dir"] = (str(tmp_path),)
    assert [item.value for item in find_templates(ctx, "own")] == ["own-thing"]


def test_without_a_cluster_names_are_silently_none(run: Run) -> None:
    assert _complete(run, "vmkit stop ") == []
    assert _complete(run, "vmkit get -n ") == []


@pytest.fixture
def mute_cluster(tmp_path: Path) -> Iterator[Path]:
    """The kubeconfig of a server that takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        path = tmp_path / "mute.kubeconfig"
        path.write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
            f"clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{server.getsockname()[1]}'}}}}]\n"
            "users: [{name: u, user: {token: t}}]\n"
            "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
        )
        yield path


def test_a_cluster_that_does_not_answer_is_not_waited_for(mute_cluster: Path) -> None:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "vmkit"],
        env={
            "_VMKIT_COMPLETE": "bash_complete",
            "COMP_WORDS": f"vmkit --kubeconfig {mute_cluster} stop ",
            "COMP_CWORD": "4",
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
    assert time.monotonic() - begun < SECONDS_ALLOWED + 3
