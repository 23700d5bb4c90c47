"""The VM's own answers: its disk booted in qemu as an overlay, on a network that reaches nothing."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from vmkit.errors import EvidenceError
from vmkit.migrate.disk.device import FileDevice
from vmkit.migrate.disk.image import detect_format
from vmkit.migrate.verify.client import Dial, ask_again, ask_all, dial_loopback
from vmkit.migrate.verify.exchange import Request
from vmkit.migrate.verify.processes import ended, find_program, resident_bytes, running
from vmkit.migrate.verify.proof import Measured, Side

HINT: Final = "apt install qemu-system-x86 qemu-utils, or give a running VM with --vm-url"
BOOT_SECONDS: Final = 600.0
_EARLY_SECONDS: Final = 20.0
_ARCHITECTURES: Final = {"x86_64": "x86_64", "aarch64": "aarch64"}


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """How the VM is booted.

    Attributes:
        memory_bytes: of the guest.
        vcpus: of the guest.
        accelerator: "kvm", "tcg" (emulation), or "auto": KVM where it works.
        boot_seconds: how long the first answer of a workload may take.
        scratch: where the overlay is made; it is thrown away.
        serial_log: where the guest's console is kept, or None.
    """

    memory_bytes: int = 2**30
    vcpus: int = 2
    accelerator: str = "auto"
    boot_seconds: float = BOOT_SECONDS
    scratch: Path | None = None
    serial_log: Path | None = None


def ask_disk(
    disks: Sequence[Path],
    ports: Mapping[str, int],
    requests: Mapping[str, Sequence[Request]],
    options: MachineOptions,
    *,
    formats: Sequence[str] = (),
) -> dict[str, Side]:
    """Boots the disks once and asks every workload.

    The disks are only read: what the guest writes goes into overlays in a temporary folder. The guest gets an
    address and nothing outside answers it (qemu's restrict=on); this machine reaches its ports through loopback.

    Args:
        disks: the root disk, then the others in order.
        ports: the workload's port, by name.
        requests: what to ask, by the workload's name.
        formats: what the disks are ("raw", "qcow2" ...); found out where not given.

    Returns:
        A side for each workload in ``requests``; with a problem where it could not be asked.

    Raises:
        MissingTool: qemu is not installed.
    """
    qemu = find_program("qemu-system-x86_64", HINT)
    qemu_img = find_program("qemu-img", HINT)
    known = list(formats) or [_format(disk) for disk in disks]
    accelerators = ["kvm", "tcg"] if options.accelerator == "auto" else [options.accelerator]
    if options.accelerator == "auto" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        accelerators = ["tcg"]
    image_bytes = sum(disk.stat().st_blocks * 512 for disk in disks)
    with tempfile.TemporaryDirectory(prefix="vmkit-machine-", dir=options.scratch) as folder:
        for accelerator in accelerators:
            overlays = [
                _make_overlay(qemu_img, disk, kind, Path(folder) / f"disk-{index}.qcow2")
                for index, (disk, kind) in enumerate(zip(disks, known, strict=True))
            ]
            sides = _boot(qemu, overlays, ports, requests, options, accelerator=accelerator, folder=Path(folder))
            if sides is not None:
                return {
                    name: replace(side, measured=replace(side.measured, image_bytes=image_bytes))
                    for name, side in sides.items()
                }
    return {name: Side(problem="qemu ended before the guest could start") for name in requests}


def _format(disk: Path) -> str:
    device = FileDevice(disk)
    try:
        return detect_format(device)
    finally:
        device.close()


def _make_overlay(qemu_img: str, disk: Path, kind: str, target: Path) -> Path:
    target.unlink(missing_ok=True)
    command = [qemu_img, "create", "-q", "-f", "qcow2", "-b", str(disk.absolute()), "-F", kind, str(target)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)  # noqa: S603
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "backslashreplace").strip()
        raise EvidenceError(f"qemu-img cannot lay an overlay on it: {said}", where=str(disk))
    return target


def build_command(
    qemu: str,
    overlays: Sequence[Path],
    forwards: Mapping[int, int],
    options: MachineOptions,
    *,
    accelerator: str,
    serial: Path,
) -> list[str]:
    """The qemu command: KubeVirt's machine type, virtio disks and network, no monitor, no display.

    Args:
        forwards: guest port -> port on this machine's loopback.
    """
    # The network card sits behind the first root port, as in KubeVirt's domains: the guest calls it enp1s0 too.
    network = ",".join(
        [
            "user,id=net0,restrict=on",
            *(f"hostfwd=tcp:127.0.0.1:{ours}-:{theirs}" for theirs, ours in forwards.items()),
        ]
    )
    accel = "kvm" if accelerator == "kvm" else "tcg,thread=multi,tb-size=256"
    command = [
        qemu, "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none",
        "-machine", "q35", "-accel", accel, "-cpu", "host" if accelerator == "kvm" else "max",
        "-smp", str(options.vcpus), "-m", f"{max(64, options.memory_bytes // 2**20)}M",
        "-serial", f"file:{_escape(serial)}", "-device", "virtio-rng-pci", "-device", "virtio-balloon-pci",
        "-device", "pcie-root-port,id=port1,chassis=1",
        "-netdev", network, "-device", "virtio-net-pci,netdev=net0,bus=port1",
        # It may neither start programs nor gain rights, whatever the guest makes of it.
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    ]  # fmt: skip
    for index, overlay in enumerate(overlays):
        drive = f"file={_escape(overlay)},if=none,id=disk{index},format=qcow2,cache=unsafe,discard=unmap"
        boots = ",bootindex=1" if index == 0 else ""
        command += ["-drive", drive, "-device", f"virtio-blk-pci,drive=disk{index}{boots}"]
    return command


def _escape(path: Path) -> str:
    return str(path).replace(",", ",,")


def _boot(
    qemu: str,
    overlays: Sequence[Path],
    ports: Mapping[str, int],
    requests: Mapping[str, Sequence[Request]],
    options: MachineOptions,
    *,
    accelerator: str,
    folder: Path,
) -> dict[str, Side] | None:
    """Boots and asks; None where KVM gave up before the guest said anything."""
    asked = {name: rows for name, rows in requests.items() if rows and name in ports}
    serial = options.serial_log or folder / "serial.log"
    log = folder / "qemu.log"
    serial.write_bytes(b"")  # what an earlier run left there says nothing of this one
    with ExitStack() as stack:
        forwards = stack.enter_context(_free_ports(sorted({ports[name] for name in asked})))
        command = build_command(qemu, overlays, forwards, options, accelerator=accelerator, serial=serial)
        output = stack.enter_context(log.open("wb"))
        started = time.monotonic()
        child = stack.enter_context(running(command, output=output))
        how = f"qemu, {'KVM' if accelerator == 'kvm' else 'emulation (TCG)'}, {options.vcpus} vCPU, "
        how += f"{options.memory_bytes // 2**20} MiB, an overlay of the disk"
        if accelerator == "kvm" and not _speaks(child, serial):
            return None
        sides: dict[str, Side] = {}
        for name in requests:
            if name not in asked:
                problem = "" if not requests[name] else "no port is known that it listens on"
                sides[name] = Side(problem=problem)
                continue
            sides[name] = ask_all(
                dial_loopback(forwards[ports[name]]),
                asked[name],
                host=_host(ports[name]),
                started=started,
                ready_seconds=options.boot_seconds,
                alive=lambda: ended(child, log),
            )
            if sides[name].problem:
                said = last_console_line(serial)
                console = f"; the guest's console says last: {said}" if said else "; the guest's console is silent"
                sides[name] = replace(sides[name], problem=sides[name].problem + console)
        if accelerator == "kvm" and child.poll() is not None:
            return None
        for name, rows in asked.items():
            dial = dial_loopback(forwards[ports[name]])
            sides[name] = ask_again(dial, rows, sides[name], host=_host(ports[name]))
        memory = resident_bytes(child.pid)
    return {
        name: replace(side, measured=replace(side.measured, memory_bytes=memory, how=how))
        for name, side in sides.items()
    }


def _host(port: int) -> str:
    return "localhost" if port == 80 else f"localhost:{port}"


def _speaks(child: subprocess.Popen[bytes], serial: Path) -> bool:
    """Whether qemu lives on for a moment, or the guest says something: KVM inside of VMs often does not work."""
    end = time.monotonic() + _EARLY_SECONDS
    while time.monotonic() < end:
        if child.poll() is not None:
            return False
        if serial.stat().st_size:
            return True
        time.sleep(0.1)
    return False


@contextmanager
def _free_ports(wanted: Sequence[int]) -> Iterator[dict[int, int]]:
    """Ports of loopback that nobody has, by the guest's ports.

    They are let go just before qemu takes them: it cannot be given an open socket. Should somebody else be faster,
    qemu ends and says so.
    """
    held = [socket.create_server(("127.0.0.1", 0)) for _ in wanted]
    found = {port: one.getsockname()[1] for port, one in zip(wanted, held, strict=True)}
    for one in held:
        one.close()
    yield found


def last_console_line(serial: Path) -> str:
    """The last thing that the guest wrote on its console, without terminal codes."""
    try:
        text = serial.read_bytes()[-8192:].decode("utf-8", "replace")
    except OSError:
        return ""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return next((line.strip()[:200] for line in reversed(plain.splitlines()) if line.strip()), "")


def ask_running(
    urls: Mapping[str, tuple[str, int, str]],
    requests: Mapping[str, Sequence[Request]],
    *,
    ready_seconds: float = 10.0,
) -> dict[str, Side]:
    """Asks a VM that runs.

    Args:
        urls: host, port and Host header by the workload's name; "" for all others.
        requests: what to ask, by the workload's name. Whoever calls has made sure that nothing but GET and HEAD is
            among them that nobody wrote down.
    """
    sides: dict[str, Side] = {}
    for name, rows in requests.items():
        where = urls.get(name) or urls.get("")
        if where is None or not rows:
            sides[name] = Side(problem="" if where else "no --vm-url was given for it")
            continue
        host, port, header = where
        side = ask_all(
            _dial(host, port),
            rows,
            host=header,
            started=time.monotonic(),
            ready_seconds=ready_seconds,
        )
        # Nothing was started: the first answer's time says nothing of a start.
        sides[name] = replace(
            side, measured=Measured(warm_seconds=side.measured.warm_seconds, how=f"running at {header}")
        )
    return sides


def _dial(host: str, port: int) -> Dial:
    return lambda seconds: socket.create_connection((host, port), timeout=seconds)
