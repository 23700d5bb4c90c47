"""What the verbs do to VMs of the practice cluster."""

from __future__ import annotations

import threading

import pytest

from tests.power.vms import create, create_running, look, manifest, running, stopped, wait_until
from vmkit.cluster import Session
from vmkit.cluster.resources import VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINE_POOLS, VIRTUAL_MACHINES
from vmkit.errors import ExitCode, LimitExceeded, NotConfirmed, UsageError, Vetoed
from vmkit.plan.model import Outcome, Plan, Status
from vmkit.power import PowerOptions, Selection, Verb, run_power
from vmkit.units import Limit
from vmkit.vm.markers import ORIGINAL_RUN_STRATEGY
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState, read_vm
from vmkit.vm.strategy import RunStrategy

pytestmark = pytest.mark.timeout(90)
WAIT = PowerOptions(wait=True, timeout_seconds=30)


def one(session: Session, verb: Verb, ref: VmRef, options: PowerOptions = WAIT) -> Outcome:
    (outcome,) = run_power(session, verb, Selection(names=(ref,)), options).outcomes
    return outcome


@pytest.mark.parametrize("strategy", ["Always", "Halted", "Manual", "RerunOnFailure", "Once"])
def test_a_vm_of_any_strategy_is_stopped_and_started_and_keeps_its_strategy(
    session: Session, strategy: str
) -> None:
    (ref,) = create_running(session, manifest("web-1", strategy))
    own = look(session, ref).run_strategy
    outcome = one(session, Verb.STOP, ref)
    assert outcome.status is Status.CHANGED, outcome
    assert outcome.reason.code == "Stopped"
    assert stopped(look(session, ref))
    again = one(session, Verb.STOP, ref)
    assert again.status is Status.UNCHANGED or strategy == "Always", again
    assert one(session, Verb.START, ref).status is Status.CHANGED
    view = look(session, ref)
    assert running(view)
    assert view.run_strategy is (RunStrategy.ALWAYS if strategy == "Halted" else own)
    assert ORIGINAL_RUN_STRATEGY not in view.annotations
    assert one(session, Verb.START, ref).status is Status.UNCHANGED


def test_starting_while_it_is_still_shutting_down_waits_and_starts(session: Session) -> None:
    for strategy in ("Always", "Manual"):
        name = f"web-{strategy.lower()}"
        (ref,) = create_running(session, manifest(name, strategy, shutdown_seconds="60", grace_seconds=120))
        one(session, Verb.STOP, ref, PowerOptions())
        wait_until(session, [ref], lambda view: view.power is PowerState.STOPPING)
        outcome = one(session, Verb.START, ref)
        assert outcome.status is Status.CHANGED, outcome
        assert running(look(session, ref))


def test_stopping_twice_is_stopping_once(session: Session) -> None:
    (ref,) = create_running(session, manifest("web-1", "Always", shutdown_seconds="60", grace_seconds=120))
    assert one(session, Verb.STOP, ref, PowerOptions()).status is Status.CHANGED
    wait_until(session, [ref], lambda view: view.power is PowerState.STOPPING)
    assert one(session, Verb.STOP, ref, PowerOptions()).status is Status.UNCHANGED
    assert one(session, Verb.STOP, ref).status is Status.UNCHANGED
    assert stopped(look(session, ref))


@pytest.mark.parametrize("strategy", ["Always", "Manual"])
def test_a_guest_that_ignores_the_power_button_is_reported_and_only_force_cuts_its_power(
    session: Session, strategy: str
) -> None:
    (ref,) = create_running(session, manifest("web-1", strategy, ignores_acpi="true", grace_seconds=3600))
    late = one(session, Verb.STOP, ref, PowerOptions(wait=True, timeout_seconds=0.5))
    assert late.status is Status.TIMED_OUT
    assert late.error is not None
    assert "--force" in late.error.hint
    forced = one(session, Verb.STOP, ref, PowerOptions(wait=True, force=True, timeout_seconds=30))
    assert forced.ok, forced
    assert stopped(look(session, ref))


def test_force_with_a_grace_gives_the_guest_that_long(session: Session) -> None:
    (ref,) = create_running(session, manifest("web-1", "Always", ignores_acpi="true", grace_seconds=3600))
    said: list[str] = []
    result = run_power(
        session,
        Verb.STOP,
        Selection(names=(ref,)),
        PowerOptions(force=True, grace_seconds=1, timeout_seconds=30),
        on_progress=lambda _, text: said.append(text),
    )
    assert result.outcomes[0].status is Status.CHANGED, result.outcomes
    assert stopped(look(session, ref))


def test_grace_is_handed_to_the_instance(session: Session) -> None:
    (ref,) = create_running(session, manifest("web-1", "Manual", shutdown_seconds="300", grace_seconds=600))
    one(session, Verb.STOP, ref, PowerOptions(grace_seconds=77))
    instance = session.find(VIRTUAL_MACHINE_INSTANCES, ref.name)
    assert instance is not None
    assert instance["spec"]["terminationGracePeriodSeconds"] == 77


@pytest.mark.parametrize("strategy", ["Always", "Manual", "RerunOnFailure"])
def test_a_restart_ends_with_another_instance(session: Session, strategy: str) -> None:
    (ref,) = create_running(session, manifest("web-1", strategy))
    before = session.get(VIRTUAL_MACHINE_INSTANCES, ref.name)["metadata"]["uid"]
    outcome = one(session, Verb.RESTART, ref)
    assert outcome.status is Status.CHANGED, outcome
    after = session.get(VIRTUAL_MACHINE_INSTANCES, ref.name)
    assert after["metadata"]["uid"] != before
    assert after["status"]["phase"] == "Running"


@pytest.mark.parametrize(("strategy", "code"), [("Halted", "NotRunning"), ("Once", "RestartUnsupported")])
def test_what_cannot_be_restarted_is_explained(session: Session, strategy: str, code: str) -> None:
    if strategy == "Halted":
        (ref,) = create(session, manifest("web-1", strategy))
        wait_until(session, [ref], stopped)
    else:
        (ref,) = create_running(session, manifest("web-1", strategy))
    outcome = one(session, Verb.RESTART, ref)
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.hint
    assert getattr(outcome.error, "reason", "") == code


def test_pausing_and_unpausing(session: Session) -> None:
    (ref,) = create_running(session, manifest("web-1", "Always"))
    assert one(session, Verb.PAUSE, ref).status is Status.CHANGED
    assert look(session, ref).power is PowerState.PAUSED
    assert one(session, Verb.PAUSE, ref).status is Status.UNCHANGED
    assert one(session, Verb.UNPAUSE, ref).status is Status.CHANGED
    assert one(session, Verb.UNPAUSE, ref).status is Status.UNCHANGED
    one(session, Verb.STOP, ref)
    assert one(session, Verb.PAUSE, ref).status is Status.FAILED


def test_a_paused_vm_is_resumed_so_that_it_can_shut_down(session: Session) -> None:
    (ref,) = create_running(session, manifest("web-1", "Always", grace_seconds=3600))
    one(session, Verb.PAUSE, ref)
    assert one(session, Verb.STOP, ref).status is Status.CHANGED
    assert stopped(look(session, ref))


def test_a_live_migration_is_seen_to_its_end(session: Session) -> None:
    (ref,) = create_running(session, manifest("web-1", "Always", migration_seconds="2"))
    before = session.get(VIRTUAL_MACHINE_INSTANCES, ref.name)["status"]["nodeName"]
    outcome = one(session, Verb.LIVE_MIGRATE, ref)
    assert outcome.status is Status.CHANGED, outcome
    assert session.get(VIRTUAL_MACHINE_INSTANCES, ref.name)["status"]["nodeName"] != before


def test_a_live_migration_that_fails_is_told_and_the_vm_runs_on(session: Session) -> None:
    (ref,) = create_running(session, manifest("web-1", "Always", migration="fail"))
    outcome = one(session, Verb.LIVE_MIGRATE, ref)
    assert outcome.status is Status.FAILED, outcome
    assert running(look(session, ref))


def test_many_are_handled_by_label_and_each_has_its_line(session: Session) -> None:
    web = create(session, *(manifest(f"web-{number}", "Always", labels={"team": "web"}) for number in range(6)))
    others = create(session, manifest("db-1", "Always", labels={"team": "db"}))
    wait_until(session, [*web, *others], running)
    heard: list[Outcome] = []
    result = run_power(
        session,
        Verb.STOP,
        Selection(namespace=session.namespace, label_selector="team=web"),
        WAIT,
        on_outcome=heard.append,
    )
    assert result.exit_code is ExitCode.OK
    assert result.counts == {"changed": 6}
    assert [outcome.target.name for outcome in result.outcomes] == [f"web-{number}" for number in range(6)]
    assert sorted(outcome.target.name for outcome in heard) == [f"web-{number}" for number in range(6)]
    assert running(look(session, others[0]))


def test_names_that_are_not_there_fail_alone(session: Session) -> None:
    (ref,) = create_running(session, manifest("web-1", "Manual"))
    missing = VmRef(session.namespace, "nobody")
    result = run_power(session, Verb.STOP, Selection(names=(missing, ref)), WAIT)
    assert [outcome.status for outcome in result.outcomes] == [Status.FAILED, Status.CHANGED]
    assert result.exit_code is ExitCode.SOME_FAILED
    assert "does not exist" in result.outcomes[0].reason.text
    assert result.outcomes[0].error is not None
    assert result.outcomes[0].error.hint == f"vmkit get -n {session.namespace} lists those there are"


def test_many_names_are_found_in_one_list(session: Session) -> None:
    refs = create(session, *(manifest(f"vm-{number}", "Halted") for number in range(30)))
    wait_until(session, refs, stopped)
    missing = VmRef(session.namespace, "nobody")
    result = run_power(session, Verb.STOP, Selection(names=(*refs, missing)))
    assert result.counts == {"unchanged": 30, "failed": 1}


def test_an_unmatched_selection_says_so(session: Session) -> None:
    result = run_power(session, Verb.STOP, Selection(namespace=session.namespace, label_selector="team=nobody"))
    assert result.outcomes == ()
    assert result.notices == ("no VM matches",)


def test_too_many_changes_are_refused_and_what_is_so_already_does_not_count(session: Session) -> None:
    refs = create(session, *(manifest(f"vm-{number}", "Always") for number in range(3)))
    idle = create(session, manifest("vm-idle", "Halted"))
    wait_until(session, refs, running)
    wait_until(session, idle, stopped)
    everything = Selection(namespace=session.namespace, everything=True)
    with pytest.raises(LimitExceeded, match="3 of 4"):
        run_power(session, Verb.STOP, everything, PowerOptions(max_changes=Limit(percent=50)))
    wait_until(session, refs, running)
    assert run_power(session, Verb.STOP, everything, PowerOptions(max_changes=Limit(count=3), wait=True)).ok


def test_nothing_is_done_before_somebody_says_yes(session: Session) -> None:
    refs = create_running(session, manifest("web-1", "Always"))
    plans: list[Plan] = []

    def refuse(plan: Plan) -> None:
        plans.append(plan)
        raise NotConfirmed("nobody said yes")

    with pytest.raises(NotConfirmed):
        run_power(session, Verb.STOP, Selection(names=tuple(refs)), confirm=refuse)
    assert look(session, refs[0]).run_strategy is RunStrategy.ALWAYS
    (change,) = plans[0].changes
    assert change.detail["from"] == "Running"


@pytest.mark.parametrize("dry_run", ["client", "server"])
@pytest.mark.parametrize("strategy", ["Always", "Once", "Manual"])
def test_a_dry_run_changes_nothing(session: Session, dry_run: str, strategy: str) -> None:
    (ref,) = create_running(session, manifest("web-1", strategy))
    before = look(session, ref)
    result = run_power(
        session,
        Verb.STOP,
        Selection(names=(ref,)),
        PowerOptions(dry_run=dry_run, wait=True),  # type: ignore[arg-type]
    )
    assert result.counts == {"planned": 1}
    assert result.dry_run == dry_run
    after = look(session, ref)
    assert (after.run_strategy, after.annotations, after.requests) == (before.run_strategy, before.annotations, ())
    assert after.alive


def test_a_pools_vm_is_refused(session: Session) -> None:
    template = manifest("x", "Always")
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": {"pool": "p"}},
        "virtualMachineTemplate": {"metadata": {"labels": {"pool": "p"}}, "spec": template["spec"]},
    }
    template["spec"]["template"]["metadata"] = {"labels": {"pool": "p"}}
    document = {
        "apiVersion": VIRTUAL_MACHINE_POOLS.api_version,
        "kind": "VirtualMachinePool",
        "metadata": {"name": "workers"},
        "spec": spec,
    }
    session.create(VIRTUAL_MACHINE_POOLS, document)
    with session.watch(VIRTUAL_MACHINES, session.namespace, timeout_seconds=20) as watch:
        view = next(view for view in (read_vm(event.object) for event in watch) if running(view))
    outcome = one(session, Verb.STOP, view.ref, PowerOptions())
    assert outcome.status is Status.REFUSED
    assert isinstance(outcome.error, Vetoed)
    assert "workers" in outcome.error.message
    assert running(look(session, view.ref))


def test_what_another_run_stops_meanwhile_is_no_failure(session: Session) -> None:
    refs = create(session, *(manifest(f"vm-{number}", "Manual") for number in range(8)))
    wait_until(session, refs, stopped)
    results = []
    barrier = threading.Barrier(3)

    def start() -> None:
        barrier.wait(60)
        results.append(run_power(session, Verb.START, Selection(names=tuple(refs)), WAIT))

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 3
    for result in results:
        assert result.ok, [outcome for outcome in result.outcomes if not outcome.ok]
    wait_until(session, refs, running)


def test_a_vm_deleted_while_waited_for_is_told(session: Session) -> None:
    (ref,) = create(session, manifest("web-1", "Manual", boot_seconds="3000"))
    wait_until(session, [ref], stopped)
    heard = threading.Event()

    def vanish(_: VmRef, text: str) -> None:
        if not heard.is_set():
            heard.set()
            session.delete(VIRTUAL_MACHINES, ref.name, grace_period_seconds=0)

    result = run_power(session, Verb.START, Selection(names=(ref,)), WAIT, on_progress=vanish)
    assert result.outcomes[0].status in {Status.FAILED, Status.CHANGED}
    assert heard.is_set()


def test_a_selection_selects_one_way() -> None:
    for wrong in (
        {},
        {"names": (VmRef("a", "b"),), "label_selector": "x"},
        {"everything": True, "label_selector": "x"},
    ):
        with pytest.raises(UsageError):
            Selection(**wrong)
