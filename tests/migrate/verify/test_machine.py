"""The booted disk: read only, alone, and gone when time is up."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.migrate.guests import convert, need
from tests.migrate.verify.servers import serving
from vmkit.migrate.verify.exchange import Request
from vmkit.migrate.verify.machine import MachineOptions, ask_disk, ask_running, build_command, last_console_line


def test_the_machine_reaches_nothing_and_is_reached_on_loopback_only() -> None:
    command = build_command(
        "qemu", [Path("/tmp/a,b.qcow2"), Path("/tmp/c.qcow2")], {80: 40001, 8080: 40002}, MachineOptions(),
        accelerator="tcg", serial=Path("/tmp/serial"),
    )  # fmt: skip
    text = " ".join(command)
    assert "user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:40001-:80,hostfwd=tcp:127.0.0.1:40002-:8080" in text
    assert text.count("-netdev") == 1
    assert "file=/tmp/a,,b.qcow2," in text
    assert "spawn=deny" in text
    assert command[command.index("-m") + 1] == "1024M"


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_disk_that_does_not_boot_is_given_up_and_left_as_it_was(kind: str, tmp_path: Path) -> None:
    need("qemu-system-x86_64", "qemu-system-x86")
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(2**20))
    if kind == "qcow2":
        disk = convert(disk, tmp_path / "disk.qcow2", "qcow2")
    before = hashlib.sha256(disk.read_bytes()).digest()
    found = ask_disk(
        [disk], {"web": 80}, {"web": [Request("web")], "db": [Request("db")]},
        MachineOptions(memory_bytes=64 * 2**20, accelerator="tcg", boot_seconds=1.5, scratch=tmp_path),
    )  # fmt: skip
    assert found["web"].problem.startswith("no answer within 1.5 s (")
    assert found["web"].problem.endswith("; the guest's console is silent")
    assert found["db"].problem == "no port is known that it listens on"
    assert hashlib.sha256(disk.read_bytes()).digest() == before
    # The overlay is gone, and with it qemu's log.
    assert [one.name for one in tmp_path.iterdir() if one.is_dir()] == []


def test_the_last_line_of_a_console_is_told_without_terminal_codes(tmp_path: Path) -> None:
    serial = tmp_path / "serial"
    serial.write_bytes(b"booting\r\n\x1b[1;32mold-web login:\x1b[0m \r\n\r\n")
    assert last_console_line(serial) == "old-web login:"
    assert last_console_line(tmp_path / "none") == ""


def test_a_running_vm_is_asked_each_request_once_and_nothing_more() -> None:
    with serving({"/": (200, "text/plain", b"x")}) as server:
        requests = {"web": [Request("web"), Request("web", "HEAD")], "db": [Request("db")]}
        found = ask_running({"web": ("127.0.0.1", server.port, "old-web:80")}, requests)
        assert [(method, path, headers["Host"]) for method, path, headers, _ in server.asked] == [
            ("GET", "/", "old-web:80"), ("HEAD", "/", "old-web:80"),
        ]  # fmt: skip
    assert found["web"].measured.cold_seconds is None
    assert found["db"].problem == "no --vm-url was given for it"
