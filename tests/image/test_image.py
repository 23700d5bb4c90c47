"""The image of the Containerfile: built here, run as the manifests run it, against a practice cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.podman import Podman, missing_programs
from tests.schedule_run.test_install import connect_as_the_job, install
from tests.schedule_run.world import World, world
from vmkit.schedule.install import InstallOptions, build_manifests

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(bool(missing_programs()), reason=f"misses the programs {', '.join(missing_programs())}"),
]


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    """podman with the image: a Debian that nobody has to download from a registry of images, and vmkit's wheel."""
    with tempfile.TemporaryDirectory(prefix="vmkit-image-") as folder:
        podman = Podman(Path(folder))
        try:
            build(podman, Path(folder))
            yield podman
        finally:
            podman.clean()


def build(podman: Podman, folder: Path) -> None:
    base = folder / "base.tar"
    done = subprocess.run(
        [
            "mmdebstrap", "--quiet", "--variant=apt", "--include=python3,python3-venv,ca-certificates",
            '--aptopt=APT::Install-Recommends "false"', "bookworm", str(base),
        ],
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    podman.call("import", str(base), podman.base)
    base.unlink()
    context = folder / "context"
    context.mkdir()
    for name in ("Containerfile", ".dockerignore"):
        shutil.copy(ROOT / name, context)
    build_wheels(context / "dist", folder)
    podman.call(
        "build", "--isolation", "chroot", "--network", "host", "--build-arg", f"BASE={podman.base}",
        "--build-arg", "PIP_OPTIONS=--no-index", "--tag", podman.image, "--layers=false", str(context),
    )  # fmt: skip


def build_wheels(target: Path, folder: Path) -> None:
    """vmkit's wheel and those of what it needs, in the versions that the suite runs with."""
    pins = [
        line.split(" ")[0] for line in (ROOT / "requirements-dev.lock").read_text().splitlines() if "==" in line
    ]
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(pin.removesuffix(";") for pin in pins))
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--wheel-dir", str(target),
            "--constraint", str(constraints), f"{ROOT}[holidays]",
        ],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture
def shop() -> Iterator[World]:
    with world() as one:
        yield one


def run_image(podman: Podman, *arguments: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
    """As the pod of the manifests: nothing may be written but below /tmp, and no right is left."""
    mounted = []
    if kubeconfig is not None:
        mounted = ["--volume", f"{kubeconfig}:/kube/config:ro", "--env", "KUBECONFIG=/kube/config"]
    return podman.run(
        "run", "--rm", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--network", "host", *mounted, *arguments,
    )  # fmt: skip


def test_it_is_vmkit_run_by_nobody_in_particular(podman: Podman) -> None:
    shown = run_image(podman, podman.image, "--version")
    assert (shown.returncode, shown.stdout[:6]) == (0, "vmkit "), shown.stderr
    [found] = json.loads(podman.call("image", "inspect", podman.image))
    assert found["Config"]["User"] == "65532:65532"
    assert found["Config"]["Entrypoint"] == ["vmkit"]
    who = run_image(podman, "--entrypoint", "python3", podman.image, "-c", WHO)
    assert json.loads(who.stdout) == {"user": 65532, "writable": ["/tmp"], "installers": []}, who.stderr


WHO = """
import importlib.util, json, os
def writes(folder):
    try:
        open(folder + "/probe", "w").close()
    except OSError:
        return False
    return True
folders = ["/", "/tmp", "/opt/vmkit", "/etc", "/usr"]
installers = [name for name in ("pip", "setuptools") if importlib.util.find_spec(name)]
print(json.dumps({"user": os.getuid(), "writable": [f for f in folders if writes(f)], "installers": installers}))
"""


def test_a_pass_is_made_from_the_image_with_the_rights_of_the_manifests(
    podman: Podman, shop: World, tmp_path: Path
) -> None:
    manifests = build_manifests(InstallOptions(image=podman.image))
    install(shop, manifests)
    shop.create("web")
    with connect_as_the_job(shop, tmp_path):
        kubeconfig = tmp_path / "job.yaml"
        kubeconfig.chmod(0o644)
    command = manifests[-1]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"]
    first = run_image(podman, "--entrypoint", command[0], podman.image, *command[1:], kubeconfig=kubeconfig)
    assert first.returncode == 0, first.stderr
    assert shop.power("web") == "Running"
    shop.to(18)
    evening = run_image(podman, "--entrypoint", command[0], podman.image, *command[1:], kubeconfig=kubeconfig)
    assert evening.returncode == 0, evening.stderr
    assert shop.power("web") == "Stopped"
    assert "vmkit.io/last-action" in shop.look("web").annotations
