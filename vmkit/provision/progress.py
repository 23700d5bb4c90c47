"""How far a VM is on its way from nothing to running. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vmkit.provision.walk import as_list, as_mapping, as_text, data_volume_names, dig

_DONE: Final = frozenset({"Succeeded"})
_WAITS_FOR_START: Final = frozenset({"WaitForFirstConsumer", "PendingPopulation", "UploadReady"})
"""A disk in such a phase goes no further while nobody starts the VM or uploads to it."""
_RUNNING_STRATEGIES: Final = frozenset({"Always", "Once", "RerunOnFailure"})
RESTARTS: Final = 3
"""An importer that failed so often will fail again: the image is not there, or too large."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a VM is.

    Attributes:
        done: whether it is as it should be.
        problem: why it will not get there by itself; empty while it may.
        text: the step it is at, for people.
        fraction: from 0 to 1; None where nobody knows.
    """

    done: bool
    problem: str
    text: str
    fraction: float | None


def decide_progress(vm: Mapping[str, Any] | None, data_volumes: Mapping[str, Mapping[str, Any]]) -> Progress:
    """How far a VM is.

    Args:
        vm: the VirtualMachine, or None where there is none (yet).
        data_volumes: the DataVolumes of its namespace, by name.
    """
    if vm is None:
        return Progress(False, "", "not there yet", None)
    wanted = [*dict.fromkeys(data_volume_names(vm))]
    disks = {name: data_volumes[name] for name in wanted if name in data_volumes}
    runs = dig(vm, "spec", "runStrategy") in _RUNNING_STRATEGIES or dig(vm, "spec", "running") is True
    problem = next((text for name, disk in disks.items() if (text := _problem_of(name, disk))), "")
    if problem:
        return Progress(False, problem, problem, None)
    busy = {name: disk for name, disk in disks.items() if dig(disk, "status", "phase") not in _DONE}
    # A DataVolume whose work is done may be collected: its claim is there then, and it is not.
    missing = [as_text(dig(item, "metadata", "name")) for item in as_list(dig(vm, "spec", "dataVolumeTemplates"))]
    missing = [name for name in missing if name and name not in data_volumes]
    status = as_text(dig(vm, "status", "printableStatus"))
    if runs:
        if status == "Running" and dig(vm, "status", "ready") is True:
            return Progress(True, "", "running", 1.0)
    elif not missing and all(dig(disk, "status", "phase") in _WAITS_FOR_START for disk in busy.values()):
        return Progress(True, "", "created; its disks wait for the first start" if busy else "created", 1.0)
    if busy and (not runs or status in {"", "Provisioning", "Stopped", "WaitingForVolumeBinding", "Starting"}):
        return _filling(disks, busy)
    return Progress(False, "", _status_text(vm, status), None)


def _filling(disks: Mapping[str, Mapping[str, Any]], busy: Mapping[str, Mapping[str, Any]]) -> Progress:
    fractions = [1.0 if name not in busy else _fraction_of(disk) for name, disk in disks.items()]
    name, disk = next(iter(busy.items()))
    step = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", as_text(dig(disk, "status", "phase")) or "Pending").lower()
    known = as_text(dig(disk, "status", "progress"))
    amount = f" {known}" if known.endswith("%") else ""
    return Progress(False, "", f"disk {name}: {step}{amount}", sum(fractions) / len(fractions))


def _fraction_of(disk: Mapping[str, Any]) -> float:
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]+)?)%", as_text(dig(disk, "status", "progress")))
    return min(float(match[1]) / 100, 1.0) if match else 0.0


def _problem_of(name: str, disk: Mapping[str, Any]) -> str:
    phase = dig(disk, "status", "phase")
    restarts = dig(disk, "status", "restartCount")
    many = isinstance(restarts, int) and restarts >= RESTARTS and phase not in _DONE
    if phase != "Failed" and not many:
        return ""
    messages = [
        as_text(as_mapping(condition).get("message"))
        for condition in as_list(dig(disk, "status", "conditions"))
        if as_mapping(condition).get("type") == "Running"
    ]
    why = f": {messages[0]}" if messages and messages[0] else ""
    return f"disk {name} cannot be filled, after {restarts or 0} restarts{why}"


def _status_text(vm: Mapping[str, Any], status: str) -> str:
    for condition in as_list(dig(vm, "status", "conditions")):
        mapping = as_mapping(condition)
        if mapping.get("type") == "Failure" and mapping.get("status") == "True":
            return f"{status or 'Unknown'}: {as_text(mapping.get('message'))}"
    return status or "accepted"
