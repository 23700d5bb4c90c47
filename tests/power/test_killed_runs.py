"""A run killed at any of its requests is completed by running it again, and has lost nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.power.guillotine import Guillotine, describe
from tests.power.vms import create, create_running, look, manifest, running, stopped, wait_until
from vmkit.cluster import Session
from vmkit.cluster.resources import DATA_VOLUMES, VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES
from vmkit.errors import VmkitError
from vmkit.lab import Lab
from vmkit.power import DeleteOptions, PowerOptions, Selection, Verb, run_delete, run_power
from vmkit.vm.markers import ORIGINAL_RUN_STRATEGY
from vmkit.vm.reference import VmRef
from vmkit.vm.strategy import RunStrategy

pytestmark = pytest.mark.timeout(240)
MOST_REQUESTS = 60


def at_every_request(
    lab: Lab, folder: Path, namespace: str, run: Callable[[Session, int], None], check: Callable[[int], None]
) -> int:
    """Kills the run at its first request, its second ..., until it needs no more; returns how many it took."""
    for fall_at in range(1, MOST_REQUESTS):
        survived = False
        for after in (False, True):
            number = 2 * fall_at + after
            with Guillotine(lab, folder, fall_at=fall_at, after=after) as guillotine:
                with guillotine.connect(namespace) as session:
                    try:
                        run(session, number)
                    except VmkitError:
                        assert guillotine.fallen, describe(guillotine)
                survived = not guillotine.fallen
                check(number)
        if survived:
            return fall_at - 1
    raise AssertionError("the run never came to its end")


def test_stopping_a_vm_of_strategy_once(lab: Lab, session: Session, tmp_path: Path) -> None:
    options = PowerOptions(wait=True, timeout_seconds=20)

    def name(number: int) -> VmRef:
        return VmRef(session.namespace, f"vm-{number}")

    def run(through: Session, number: int) -> None:
        create_running(session, manifest(name(number).name, "Once"))
        run_power(through, Verb.STOP, Selection(names=(name(number),)), options)

    def check(number: int) -> None:
        assert run_power(session, Verb.STOP, Selection(names=(name(number),)), options).ok
        view = look(session, name(number))
        assert stopped(view)
        assert view.annotations[ORIGINAL_RUN_STRATEGY] == "Once"
        assert run_power(session, Verb.START, Selection(names=(name(number),)), options).ok
        assert look(session, name(number)).run_strategy is RunStrategy.ONCE
        session.delete(VIRTUAL_MACHINES, name(number).name)

    assert at_every_request(lab, tmp_path, session.namespace, run, check) >= 4


def test_starting_a_vm_whose_strategy_is_brought_back(lab: Lab, session: Session, tmp_path: Path) -> None:
    options = PowerOptions(wait=True, timeout_seconds=20)

    def name(number: int) -> VmRef:
        return VmRef(session.namespace, f"vm-{number}")

    def run(through: Session, number: int) -> None:
        document = manifest(name(number).name, "Halted", annotations={ORIGINAL_RUN_STRATEGY: "Once"})
        wait_until(session, create(session, document), stopped)
        run_power(through, Verb.START, Selection(names=(name(number),)), options)

    def check(number: int) -> None:
        assert run_power(session, Verb.START, Selection(names=(name(number),)), options).ok
        view = look(session, name(number))
        assert running(view)
        assert view.run_strategy is RunStrategy.ONCE
        assert ORIGINAL_RUN_STRATEGY not in view.annotations
        session.delete(VIRTUAL_MACHINES, name(number).name)

    assert at_every_request(lab, tmp_path, session.namespace, run, check) >= 3


def test_deleting_a_running_vm_and_keeping_its_disk(lab: Lab, session: Session, tmp_path: Path) -> None:
    options = DeleteOptions(wait=True, timeout_seconds=20)

    def name(number: int) -> VmRef:
        return VmRef(session.namespace, f"vm-{number}")

    def run(through: Session, number: int) -> None:
        create_running(session, manifest(name(number).name, "Always", disk=True))
        run_delete(through, Selection(names=(name(number),)), options)

    def check(number: int) -> None:
        result = run_delete(session, Selection(names=(name(number),)), options)
        assert result.ok, result.outcomes
        assert session.find(VIRTUAL_MACHINES, name(number).name) is None
        assert session.find(VIRTUAL_MACHINE_INSTANCES, name(number).name) is None
        volume = session.get(DATA_VOLUMES, f"{name(number).name}-root")
        assert not volume["metadata"].get("ownerReferences")
        assert not volume["metadata"].get("deletionTimestamp")

    assert at_every_request(lab, tmp_path, session.namespace, run, check) >= 8


def test_stopping_many_leaves_none_unlisted(lab: Lab, session: Session, tmp_path: Path) -> None:
    refs = create(session, *(manifest(f"vm-{number}", "Always") for number in range(6)))
    wait_until(session, refs, running)
    selection = Selection(namespace=session.namespace, everything=True)
    with (
        Guillotine(lab, tmp_path, fall_at=4, after=True) as guillotine,
        guillotine.connect(session.namespace) as through,
    ):
        result = run_power(through, Verb.STOP, selection, PowerOptions(concurrency=1))
    assert len(result.outcomes) == 6
    assert not result.ok
    assert result.counts["changed"] == 2
    assert set(result.counts) <= {"changed", "failed", "not-tried"}
    again = run_power(session, Verb.STOP, selection, PowerOptions(wait=True, timeout_seconds=30))
    assert again.ok
    wait_until(session, refs, stopped)
