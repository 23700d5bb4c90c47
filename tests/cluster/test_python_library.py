"""docs/python-library.md and examples/library/ do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.power.vms import create, create_running, manifest, stopped, wait_until
from vmkit.cluster import Session
from vmkit.lab import Lab

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "python-library.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def environment(lab: Lab) -> dict[str, str]:
    return {**os.environ, "KUBECONFIG": str(lab.kubeconfig), "PYTHONPATH": str(ROOT)}


def test_every_python_block_of_the_page_runs(
    session: Session, lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    create_running(session, manifest("web-1", "Always", labels={"team": "web"}))
    kubeconfig = yaml.safe_load(Path(lab.kubeconfig).read_text(encoding="utf-8"))
    kubeconfig["contexts"][0]["context"]["namespace"] = session.namespace
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(kubeconfig), encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(path))
    names: dict[str, object] = {}
    blocks = [code for language, code in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if language == "python"]
    assert len(blocks) >= 6
    for code in blocks:
        exec(compile(code, str(PAGE), "exec"), names)
    said = capsys.readouterr().out
    assert f"{session.namespace}/web-1 Running Always" in said
    assert "ADDED Running" in said
    assert "changed" in said
    assert "NotFound" in said
    opened = names["session"]
    assert isinstance(opened, Session)
    opened.close()


def test_the_rules_on_the_page_are_rules() -> None:
    (text,) = (code for language, code in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if language == "yaml")
    rules = yaml.safe_load(text)["rules"]
    assert all(set(rule) == {"apiGroups", "resources", "verbs"} for rule in rules)


def run_example(lab: Lab, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "examples" / "library" / name
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        env=environment(lab),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_list_vms(session: Session, lab: Lab) -> None:
    wait_until(session, create(session, manifest("db-1", "Halted")), stopped)
    done = run_example(lab, "list_vms.py", session.namespace)
    assert done.stdout == f"{session.namespace}/db-1\tStopped\tHalted\n", done.stderr


def test_stop_team(session: Session, lab: Lab) -> None:
    refs = create_running(
        session, *(manifest(f"web-{number}", "Always", labels={"team": "web"}) for number in range(2))
    )
    done = run_example(lab, "stop_team.py", session.namespace, "team=web")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(f"{ref}\tchanged\tit has stopped\n" for ref in refs)
    wait_until(session, refs, stopped)


def test_watch_vms(session: Session, lab: Lab) -> None:
    refs = create_running(session, manifest("web-1", "Always"))
    done = run_example(lab, "watch_vms.py", session.namespace, "1")
    assert done.stdout == f"{refs[0]}\tRunning\n", done.stderr


def test_missing_rights(session: Session, lab: Lab) -> None:
    done = run_example(lab, "missing_rights.py", session.namespace)
    assert done.returncode == 0, done.stderr
    assert "yes\tupdate\tvirtualmachines/stop\n" in done.stdout
