from __future__ import annotations

import pytest

from vmkit.guard.vetoes import decide_veto
from vmkit.vm.reference import VmRef
from vmkit.vm.state import Owner, PowerState, VmView
from vmkit.vm.strategy import RunStrategy

REF = VmRef("shop", "web-1")
RUNNING = {"run_strategy": RunStrategy.ALWAYS, "power": PowerState.RUNNING}


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "pause", "live-migrate", "delete"])
def test_a_pools_vms_are_the_pools_business(verb: str) -> None:
    veto = decide_veto(VmView(REF, owners=(Owner("VirtualMachinePool", "workers"),), **RUNNING), verb)
    assert veto is not None
    assert veto.code == "PoolOwned"
    assert "workers" in veto.hint


def test_a_receiver_is_never_touched() -> None:
    veto = decide_veto(VmView(REF, run_strategy=RunStrategy.WAIT_AS_RECEIVER, power=PowerState.STARTING), "stop")
    assert veto is not None
    assert veto.code == "WaitAsReceiver"


def test_what_nobody_understands_is_left_running() -> None:
    veto = decide_veto(VmView(REF, power=PowerState.RUNNING, problem="spec.runStrategy is missing"), "stop")
    assert veto is not None
    assert "spec.runStrategy is missing" in veto.text
    assert decide_veto(VmView(REF, run_strategy=RunStrategy.ALWAYS, power=PowerState.UNKNOWN), "stop") is not None


def test_work_in_progress_forbids_what_ends_the_guest_and_nothing_else() -> None:
    busy = VmView(REF, busy="snapshot nightly is in progress", **RUNNING)
    for verb in ("stop", "restart", "delete"):
        veto = decide_veto(busy, verb)
        assert veto is not None
        assert veto.code == "Busy"
    assert decide_veto(busy, "start") is None
    assert decide_veto(busy, "pause") is None


def test_an_ordinary_vm_meets_no_objection() -> None:
    for verb in ("start", "stop", "restart", "pause", "unpause", "live-migrate", "delete"):
        assert decide_veto(VmView(REF, **RUNNING), verb) is None
