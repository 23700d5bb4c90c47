"""What is installed, at work: the job and the controller, each under its own account and with its rights alone."""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.schedule_run.test_install import SWITCH, connect_as_the_job, install
from tests.schedule_run.world import World, world
from vmkit.cluster import Session
from vmkit.cluster.resources import Resource
from vmkit.errors import Forbidden
from vmkit.schedule.controller.controller import Controller, WatchOptions
from vmkit.schedule.controller.election import LeaseOptions
from vmkit.schedule.controller.lines import Line
from vmkit.schedule.controller.permissions import CONTROLLER_RULES, DEFAULT_LEASE, LEASE_RULES
from vmkit.schedule.install import InstallOptions, build_manifests
from vmkit.schedule.running import PassOptions
from vmkit.schedule.state import STATE
from vmkit.scheduling import PowerHands

IMAGE = "registry.example/vmkit:1"
JOBS = Resource("batch", "v1", "jobs", "Job")
DEADLINE_SECONDS = 60.0


def wait_until(done: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        found = done()
        if found:
            return found
        time.sleep(0.05)
    pytest.fail(f"not within {DEADLINE_SECONDS:g} s: {what}")


@pytest.mark.timeout(300)
def test_the_cron_job_stops_vms_by_its_own_command_under_its_own_account() -> None:
    with world(run_jobs=True) as shop:
        shop.create("web")
        install(shop, build_manifests(InstallOptions(image=IMAGE)))

        def run_a_job() -> None:
            """On to the next five minutes, and until the job's process has ended."""
            shop.advance(minutes=5)

            def has_ended() -> bool:
                shop.advance(seconds=1)
                jobs = list(shop.session.list(JOBS, "vmkit"))
                return bool(jobs) and not any(job.get("status", {}).get("active") for job in jobs)

            wait_until(has_ended, "the job's end")

        run_a_job()
        assert STATE in shop.look("web").annotations
        shop.to(18)
        for _ in range(3):  # The first may have begun before six.
            run_a_job()
        assert shop.power("web") == "Stopped"
        assert any(reason == "ScheduledStop" for reason, _ in shop.events("web"))
        failed = [job for job in shop.session.list(JOBS, "vmkit") if job.get("status", {}).get("failed")]
        assert failed == []


@contextmanager
def controlling(session: Session) -> Iterator[list[Line]]:
    """The controller at work; its lines, as they come."""
    lines: list[Line] = []
    watch = WatchOptions(lease=LeaseOptions("vmkit", DEFAULT_LEASE), heartbeat_seconds=0.2, again_seconds=0.5)
    controller = Controller(session, PowerHands(session), PassOptions(switch=SWITCH), watch, on_line=lines.append)
    thread = threading.Thread(target=controller.run)
    thread.start()
    try:
        yield lines
    finally:
        controller.stop()
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()


CONTROLLER = build_manifests(InstallOptions(image=IMAGE, controller=True))


def forbidden(lines: list[Line]) -> list[str]:
    return [line.text for line in list(lines) if isinstance(line.error, Forbidden)]


def test_the_controller_works_with_exactly_these_rights(shop: World, tmp_path: Path) -> None:
    shop.create("web")
    install(shop, CONTROLLER)
    with connect_as_the_job(shop, tmp_path) as session, controlling(session) as lines:
        wait_until(lambda: STATE in shop.look("web").annotations, "its history's beginning")
        shop.to(18)
        wait_until(lambda: "vmkit.io/last-action" in shop.look("web").annotations, "the stop")
    assert shop.power("web") == "Stopped"
    assert forbidden(lines) == []


BEYOND = [
    ("Role" if rule in LEASE_RULES else "ClusterRole", rule, verb)
    for rule in (*CONTROLLER_RULES, *LEASE_RULES)
    for verb in rule["verbs"]
]


@pytest.mark.parametrize(
    ("kind", "rule", "verb"), BEYOND, ids=[f"{verb}-{rule['resources'][0]}" for _, rule, verb in BEYOND]
)
def test_without_any_one_right_the_controller_says_what_it_misses(
    shop: World, tmp_path: Path, kind: str, rule: dict[str, Any], verb: str
) -> None:
    manifests = copy.deepcopy(CONTROLLER)
    role = next(each for each in manifests if each["kind"] == kind)
    named = rule.get("resourceNames")
    for each in role["rules"]:
        if each["resources"] == rule["resources"] and each.get("resourceNames") == named and verb in each["verbs"]:
            each["verbs"].remove(verb)
    role["rules"] = [each for each in role["rules"] if each["verbs"]]
    install(shop, manifests)
    with connect_as_the_job(shop, tmp_path) as session, controlling(session) as lines:
        said = wait_until(lambda: forbidden(lines), f"word that it may not {verb} {rule['resources'][0]}")
    assert rule["resources"][0].removesuffix("s") in " ".join(said).lower()


def test_the_deployments_command_serves_what_its_probes_ask_and_ends_when_asked(
    shop: World, tmp_path: Path
) -> None:
    manifests = build_manifests(
        InstallOptions(image=IMAGE, controller=True, arguments=("--listen=127.0.0.1:0", "--output=json"))
    )
    install(shop, manifests)
    with connect_as_the_job(shop, tmp_path):
        pass
    deployment = next(each for each in manifests if each["kind"] == "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "job.yaml")}
    process = subprocess.Popen(
        [sys.executable, "-m", "vmkit", *container["command"][1:]],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    try:
        seen: list[str] = []
        address = ""
        for text in process.stdout:
            seen.append(text)
            line = json.loads(text)
            if line["event"] == "listening":
                [address] = re.findall(r"127\.0\.0\.1:[0-9]+", line["message"])[:1]
            if address and line["event"] == "leading":
                break
        else:
            pytest.fail("".join(seen))
        paths = {
            container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe", "startupProbe")
        }
        for path in (*sorted(paths), "/metrics"):

            def answers(path: str = path) -> bool:
                try:
                    with urllib.request.urlopen(f"http://{address}{path}", timeout=20) as answer:
                        return answer.status == 200
                except OSError:
                    return False

            wait_until(answers, path)
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=DEADLINE_SECONDS)
        assert process.returncode == 0, rest
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
