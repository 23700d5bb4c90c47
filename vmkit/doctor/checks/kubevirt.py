"""KubeVirt itself: version, phase, feature gates, and what it does with changes.

Sources: KubeVirt staging/src/kubevirt.io/api/core/v1/types.go (KubeVirtStatus, KubeVirtPhase), pkg/virt-config.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from vmkit.cluster.resources import KUBEVIRTS, NODES
from vmkit.doctor.look import Look, Object, condition, mapping, target_of
from vmkit.doctor.model import Check, Finding, Kind, Severity
from vmkit.insight.shape import read_rollout

OLDEST = (1, 3)
_KVM = "devices.kubevirt.io/kvm"

OK = Kind("kubevirt.deployed", Severity.OK, "KubeVirt is deployed and available.")
GATES = Kind("kubevirt.gates", Severity.INFO, "Which feature gates are on.", why="some features need their gate")
ABSENT = Kind(
    "kubevirt.absent",
    Severity.PROBLEM,
    "There is no KubeVirt object.",
    why="without KubeVirt there are no VMs",
    mend="install KubeVirt: https://kubevirt.io/user-guide/cluster_admin/installation",
)
PHASE = Kind(
    "kubevirt.not-deployed",
    Severity.PROBLEM,
    "KubeVirt's phase is not Deployed, or it is not available.",
    why="VMs may not start, stop or migrate",
    mend="kubectl -n kubevirt get pods; kubectl -n kubevirt describe kubevirt",
)
DEGRADED = Kind(
    "kubevirt.degraded",
    Severity.PROBLEM,
    "KubeVirt says that it is degraded.",
    why="some of its parts do not run as they should",
    mend="kubectl -n kubevirt get pods",
)
UPDATING = Kind(
    "kubevirt.updating",
    Severity.WARNING,
    "KubeVirt is between two versions.",
    why="VMs may be migrated while it is, and not all verbs answer as usual",
    mend="kubectl -n kubevirt wait kubevirt --all --for=condition=Available --timeout=30m",
)
OLD = Kind(
    "kubevirt.old",
    Severity.WARNING,
    "KubeVirt is older than 1.3.",
    why="a stop of a VM with the strategy RerunOnFailure changes its spec there, which GitOps tools set back",
    mend="update KubeVirt one minor release after the other",
)
STAGED = Kind(
    "kubevirt.changes-wait",
    Severity.INFO,
    "Changes of size wait for a restart of the VM.",
    why="vmkit rightsize --apply shows its effect only after the next stop",
    mend="kubectl -n kubevirt patch kubevirt kubevirt --type=merge -p "
    '\'{"spec":{"configuration":{"vmRolloutStrategy":"LiveUpdate"},'
    '"workloadUpdateStrategy":{"workloadUpdateMethods":["LiveMigrate"]}}}\'',
)
NO_KVM = Kind(
    "kubevirt.no-kvm",
    Severity.PROBLEM,
    "No node offers /dev/kvm, and emulation is off.",
    why="no VM can be placed anywhere",
    mend="turn on virtualization in the nodes' firmware, or (for tests) useEmulation in the KubeVirt object",
)


def run(look: Look) -> Iterator[Finding]:
    items = look.list(KUBEVIRTS)
    if not items and look.knows(KUBEVIRTS):
        yield ABSENT.found("there is no KubeVirt object in the cluster")
    for item in items:
        yield from _judge(item)
        yield from _kvm(look, item)


def _judge(item: Object) -> Iterator[Finding]:
    target, status = target_of(item, "KubeVirt"), mapping(item, "status")
    phase, seen, wanted = (
        str(status.get(key) or "") for key in ("phase", "observedKubeVirtVersion", "targetKubeVirtVersion")
    )
    if phase != "Deployed" or condition(item, "Available") == "False":
        yield PHASE.found(f"{target} is in phase {phase or '(none)'}, and not available", target=target)
    elif condition(item, "Degraded") == "True":
        yield DEGRADED.found(f"{target} is degraded", target=target)
    else:
        yield OK.found(f"KubeVirt {seen or '(no version given)'} is deployed", target=target)
    if seen and wanted and seen != wanted:
        yield UPDATING.found(f"{target} is on its way from {seen} to {wanted}", target=target)
    match = re.match(r"v?(\d+)\.(\d+)", seen)
    if match and (int(match[1]), int(match[2])) < OLDEST:
        yield OLD.found(f"KubeVirt {seen} is older than {OLDEST[0]}.{OLDEST[1]}", target=target)
    rollout = read_rollout(item)
    if not (rollout.live_update and rollout.workload_updates):
        yield STAGED.found("changes of a running VM's size wait for its next restart", target=target)
    gates = _developer(item).get("featureGates")
    if isinstance(gates, list) and gates:
        yield GATES.found(f"feature gates: {', '.join(sorted(map(str, gates)))}", target=target)


def _developer(item: Object) -> Any:
    return mapping(item, "spec", "configuration", "developerConfiguration")


def _kvm(look: Look, item: Object) -> Iterator[Finding]:
    nodes = look.list(NODES)
    if not nodes or _developer(item).get("useEmulation") is True:
        return
    if all(str(mapping(node, "status", "allocatable").get(_KVM, "0")) == "0" for node in nodes):
        yield NO_KVM.found(f"none of {len(nodes)} nodes offers {_KVM}", target=target_of(item, "KubeVirt"))


CHECK = Check(
    "kubevirt",
    "KubeVirt's version, phase, feature gates and rollout strategy.",
    (OK, GATES, ABSENT, PHASE, DEGRADED, UPDATING, OLD, STAGED, NO_KVM),
    run,
)
