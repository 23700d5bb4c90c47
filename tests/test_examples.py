"""Every folder below examples/ is run by a test; those of one capability by that capability's own tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


def own_environment(home):
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith("VMKIT_") and key != "KUBECONFIG"
    }
    scripts = str(Path(sys.executable).parent)
    return {**kept, "HOME": str(home), "PATH": f"{scripts}{os.pathsep}{kept['PATH']}", "NO_COLOR": "1"}


def test_the_first_steps_do_the_main_job(tmp_path):
    done = subprocess.run(
        ["sh", str(EXAMPLES / "first-steps" / "run.sh")],
        cwd=tmp_path,
        env=own_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (
        "default/web-1 created: running",
        "default/web-1 unchanged: it is there as asked for",
        "default/build-1 stopped: it has stopped",
        "default/build-1 started: it is running and ready",
    ):
        assert line in done.stdout
    assert not list(tmp_path.glob("**/*.kubeconfig")), "the practice cluster's kubeconfig was left behind"


@pytest.mark.parametrize("folder", sorted(each.name for each in EXAMPLES.iterdir() if each.is_dir()))
def test_every_folder_of_examples_is_named_by_a_test(folder):
    tests = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    names = (f'"examples" / "{folder}"', f"examples/{folder}", f'EXAMPLES / "{folder}"')
    assert any(name in text for text in tests for name in names)
