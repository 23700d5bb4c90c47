"""``vmkit schedule run --watch`` as people and the kubelet run it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from tests.schedule.controller.replica import ROOT, wait_until
from tests.schedule_run.world import World
from vmkit.cluster.resources import LEASES

_COMMAND = [sys.executable, "-m", "vmkit", "schedule", "run", "--watch"]


class Running:
    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process, self._out, self._err = process, out, err

    @property
    def out(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def running(shop: World, folder: Path, *arguments: str) -> Iterator[Running]:
    out, err = folder / "out", folder / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [*_COMMAND, *arguments],
            cwd=ROOT,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, "KUBECONFIG": shop.lab.kubeconfig},
        )
        try:
            yield Running(process, out, err)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(60)


def test_it_goes_on_until_it_is_told_to_end(shop: World, tmp_path: Path) -> None:
    shop.create("web")
    with running(shop, tmp_path, "-n", "shop", "--listen", "127.0.0.1:0") as one:
        wait_until(lambda: "shop/web skipped: its history starts now" in one.err, lambda: one.err)
        found = re.search(r"http://(127\.0\.0\.1:\d+)/metrics", one.err)
        assert found is not None
        with urllib3.PoolManager() as pool:
            for path in ("readyz", "healthz"):
                assert pool.request("GET", f"http://{found[1]}/{path}").status == 200
            assert b"vmkit_schedule_leader 1.0" in pool.request("GET", f"http://{found[1]}/metrics").data
        shop.to(18)
        wait_until(lambda: "shop/web stopped: the schedule asks for a stop" in one.err, lambda: one.err)
        assert one.end(signal.SIGTERM) == 0
        assert one.out == ""
        assert "stopped: all that was begun is finished" in one.err
    assert shop.power("web") == "Stopped"
    lease = shop.session.get(LEASES, "vmkit-schedule")
    assert lease["spec"]["holderIdentity"] == ""


def test_programs_get_json_lines(shop: World, tmp_path: Path) -> None:
    shop.create("web", "Mon-Fry 08:00-18:00 UTC")
    with running(shop, tmp_path, "-n", "shop", "--no-leader-election", "-o", "json") as one:
        wait_until(lambda: "BadAnnotation" in one.out, lambda: one.out + one.err)
        assert one.end(signal.SIGINT) == 130
        lines = [json.loads(line) for line in one.out.splitlines()]
    assert [line["event"] for line in lines] == ["started", "outcome", "stopping", "stopped"]
    assert (lines[1]["level"], lines[1]["outcome"]["reason"]["code"]) == ("error", "BadAnnotation")
    assert shop.session.find(LEASES, "vmkit-schedule") is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--at", "2026-02-05T18:00:00Z"], "--watch acts now"),
        (["--simulate", "7d"], "--watch acts now"),
        (["-o", "yaml"], "-o yaml is for what has an end"),
        (["--listen", "9108"], "names no port"),
        (["--resync", "1s"], "takes time"),
    ],
)
def test_what_does_not_go_together_is_refused(
    shop: World, tmp_path: Path, arguments: list[str], message: str
) -> None:
    with running(shop, tmp_path, *arguments) as one:
        assert one.process.wait(60) == 2
        assert message in one.err
        assert "Traceback" not in one.err
