"""What monitoring is told, and where it asks."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import urllib3

from vmkit.errors import ConfigError, UsageError
from vmkit.schedule.controller.metrics import FAMILIES, Metrics
from vmkit.schedule.controller.serving import Server, parse_listen


def filled() -> Metrics:
    metrics = Metrics()
    metrics.add("passes_total", "ok")
    metrics.add("passes_total", "ok")
    metrics.add("actions_total", "stop", "changed")
    metrics.set_all("waiting_vms", {"Gone": 4})
    metrics.set_all("waiting_vms", {'Odd"\\\n': 2})
    metrics.set("next_transition_timestamp_seconds", 1770141600.0)
    return metrics


def test_counts_are_written_as_prometheus_reads_them() -> None:
    lines = filled().render().splitlines()
    assert 'vmkit_schedule_passes_total{result="ok"} 2.0' in lines
    assert 'vmkit_schedule_actions_total{verb="stop",result="changed"} 1.0' in lines
    assert 'vmkit_schedule_waiting_vms{reason="Odd\\"\\\\\\n"} 2' in lines
    assert not any("Gone" in line for line in lines)
    assert "vmkit_schedule_next_transition_timestamp_seconds 1770141600.0" in lines
    assert lines.count("# TYPE vmkit_schedule_leader gauge") == 1


def test_prometheus_own_checker_finds_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=filled().render(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_every_metric_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "schedules.md").read_text(encoding="utf-8")
    assert [family.name for family in FAMILIES if f"`vmkit_schedule_{family.name}`" not in page] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":9108", ("", 9108)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:80", ("::1", 80)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_addresses_to_listen_at(text: str, expected: tuple[str, int]) -> None:
    assert parse_listen(text) == expected


@pytest.mark.parametrize(
    "text", ["", "9108", ":", ":65536", ":-1", ":٣", "[::1:80", "host:http", ":" + "9" * 5000]
)
def test_what_names_no_port_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no port"):
        parse_listen(text)


def test_the_three_pages() -> None:
    answers = {"unwell": "", "unready": "not yet"}
    with (
        Server(
            ("127.0.0.1", 0),
            metrics=lambda: "one 1\n",
            unwell=lambda: answers["unwell"],
            unready=lambda: answers["unready"],
        ) as server,
        urllib3.PoolManager(retries=False) as pool,
    ):

        def ask(path: str, method: str = "GET") -> tuple[int, str]:
            reply = pool.request(method, f"http://{server.address}{path}", timeout=30)
            return reply.status, reply.data.decode()

        assert ask("/metrics") == (200, "one 1\n")
        assert ask("/metrics?name=one", "HEAD") == (200, "")
        assert ask("/healthz") == (200, "ok\n")
        assert ask("/readyz") == (503, "not yet\n")
        answers.update(unwell="stuck", unready="")
        assert ask("/healthz") == (503, "stuck\n")
        assert ask("/readyz") == (200, "ok\n")
        assert ask("/else")[0] == 404
        assert ask("/metrics", "POST")[0] == 501


def test_every_address_is_listened_at() -> None:
    with (
        Server(("", 0), metrics=str, unwell=str, unready=str) as server,
        urllib3.PoolManager(retries=False) as pool,
    ):
        port = server.address.rpartition(":")[2]
        assert pool.request("GET", f"http://127.0.0.1:{port}/healthz", timeout=30).status == 200


def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="cannot listen"):
            Server(taken.getsockname(), metrics=str, unwell=str, unready=str)
