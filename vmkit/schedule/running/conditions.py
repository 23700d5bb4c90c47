"""What has to be asked of the cluster where something is due: nodes, migrations, GitOps tools, the storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vmkit.cluster.resources import (
    CEPH_CLUSTERS,
    NODES,
    RESOURCE_QUOTAS,
    VIRTUAL_MACHINE_INSTANCE_MIGRATIONS,
)
from vmkit.cluster.session import Session
from vmkit.errors import ClusterError, Forbidden, MissingApi, NotFound
from vmkit.guard.room import find_room_risks
from vmkit.guard.storage import StorageHealth, decide_storage
from vmkit.plan import Reason
from vmkit.schedule.facts import Ownership, VmFacts, read_facts
from vmkit.schedule.rules import Side
from vmkit.schedule.running.hands import Hands, Judgement
from vmkit.schedule.running.subjects import Subject
from vmkit.vm.reference import VmRef

MASS_START: Final = 10
"""From so many starts at once on the storage's health is looked at first."""


@dataclass(slots=True)
class Conditions:
    """What is known of what surrounds the VMs that something is due for.

    Attributes:
        silent_nodes: names of the nodes that do not answer.
        migrating: VMs for which a migration is asked for or under way, with the migration's name.
        judgements: by side and VM, what GitOps would say.
        ready_nodes: how many nodes answer; None where nobody looked.
        room_risks: VMs that would not find room again, and why.
    """

    silent_nodes: frozenset[str] = frozenset()
    migrating: Mapping[VmRef, str] = field(default_factory=dict)
    judgements: dict[tuple[Side, VmRef], Judgement] = field(default_factory=dict)
    ready_nodes: int | None = None
    room_risks: dict[VmRef, tuple[Reason, ...]] = field(default_factory=dict)

    def facts(self, subject: Subject, side: Side | None) -> VmFacts:
        """The facts about a VM, with what is known here."""
        judged = self.judgements.get((side, subject.ref)) if side is not None else None
        migration = self.migrating.get(subject.ref, "")
        return read_facts(
            subject.view,
            node_silent=subject.view.node in self.silent_nodes,
            restart_risks=(*subject.risks, *self.room_risks.get(subject.ref, ())),
            busy=f"migration {migration} is asked for" if migration else "",
            ownership=judged.ownership if judged is not None else Ownership.NONE,
            owner=judged.owner if judged is not None else "",
        )


def read_conditions(
    session: Session, hands: Hands, wanted: Iterable[tuple[Subject, Side | None]], namespace: str | None
) -> Conditions:
    """Asks what is needed for these VMs.

    Raises:
        ClusterError: it cannot be read; what nobody knows stands against acting.
    """
    wanted = list(wanted)
    conditions = Conditions()
    documents: list[Mapping[str, Any]] = []
    if any(subject.view.node for subject, _ in wanted) or any(side is Side.START for _, side in wanted):
        documents = list(session.list(NODES))
        nodes = _read_nodes(documents)
        conditions.silent_nodes = frozenset(name for name, ready in nodes.items() if not ready)
        conditions.ready_nodes = sum(nodes.values())
    # Those that nothing else stands against, and that do not say that they may stay away.
    stops = [
        subject
        for subject, side in wanted
        if side is Side.STOP and not subject.risks and not subject.effective.restart_safe
    ]
    if stops:
        conditions.room_risks = _read_room(session, stops, documents, namespace)
    if any(side is Side.STOP for _, side in wanted):
        conditions.migrating = _read_migrations(session, namespace)
    for side in Side:
        views = [subject.view for subject, wished in wanted if wished is side]
        for ref, judgement in hands.judge(views, side).items() if views else ():
            conditions.judgements[side, ref] = judgement
    return conditions


def _read_room(
    session: Session, subjects: Iterable[Subject], nodes: list[Mapping[str, Any]], namespace: str | None
) -> dict[VmRef, tuple[Reason, ...]]:
    """Why each of them would not find room again; where quotas may not be read, nobody knows whether it would."""
    try:
        quotas = list(session.list(RESOURCE_QUOTAS, namespace))
    except Forbidden:
        unknown = Reason(
            "QuotaUnknown", "quotas may not be read: nobody can tell whether it would be let in again"
        )
        return {subject.ref: (unknown,) for subject in subjects}
    found = {
        subject.ref: find_room_risks(subject.view, quotas, nodes) for subject in subjects if subject.view.node
    }
    return {ref: risks for ref, risks in found.items() if risks}


def _read_nodes(nodes: Iterable[Mapping[str, Any]]) -> dict[str, bool]:
    """Whether each node answers, by the condition its controller keeps."""
    found = {}
    for node in nodes:
        metadata, status = _mapping(node, "metadata"), _mapping(node, "status")
        conditions = status.get("conditions")
        ready = any(
            isinstance(one, dict) and one.get("type") == "Ready" and one.get("status") == "True"
            for one in (conditions if isinstance(conditions, list) else ())
        )
        found[str(metadata.get("name", ""))] = ready
    return found


def _read_migrations(session: Session, namespace: str | None) -> dict[VmRef, str]:
    found = {}
    for migration in session.list(VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, namespace):
        metadata, spec, status = (_mapping(migration, key) for key in ("metadata", "spec", "status"))
        if status.get("phase") not in {"Succeeded", "Failed"}:
            ref = VmRef(str(metadata.get("namespace", "")), str(spec.get("vmiName", "")))
            found[ref] = str(metadata.get("name", ""))
    return found


def object_to_mass_start(session: Session) -> Reason | None:
    """Why many VMs should not be started at once now; None where nothing is known against it."""
    try:
        clusters = list(session.list(CEPH_CLUSTERS))
    except (NotFound, MissingApi, Forbidden):
        return None  # No Rook, or none of our business.
    except ClusterError as error:
        return Reason("StorageUnknown", f"the storage's health cannot be read: {error.message}")
    verdict = decide_storage(clusters, 0)
    if verdict.health is StorageHealth.REFUSED:
        return Reason("StorageUnhealthy", verdict.reason.text)
    return None


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}
