"""Which VMs a fleet has. Pure: the same seed, size and instant give the same fleet.

The shares follow what operators report of grown installations: most VMs are small Linux servers that always run,
a fifth is stopped, some are owned by Argo CD or a pool, a few have been broken for long, and a handful of
objects is so old that fields are missing from them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

GI = 1024**3

State = Literal[
    "running", "stopped", "paused", "crash-looping", "provisioning", "unschedulable", "starting", "malformed"
]


@dataclass(frozen=True)
class Disk:
    """A disk of a VM: ``source`` tells how it came to be (clone of a golden image, import, blank, or in the
    image itself)."""

    name: str
    size_bytes: int
    source: Literal["clone", "import", "blank", "container"]
    image: str = ""


@dataclass(frozen=True)
class VmPlan:
    """One VM of a fleet.

    Attributes:
        index: its number in the fleet, from 0.
        role: what it does ("web", "database" ...); part of its name.
        template: the template it was made from, "" where nobody knows any more.
        cores, memory_bytes: its size, also where an instancetype gives it.
        instancetype, preference: names of cluster-wide ones, or "".
        run_strategy: the spec's, "running:true" or "running:false" for the old field.
        created: when it was made.
        started: when it was last started; None if it is not running.
        stopped: when it was last stopped; None if it runs, or never ran.
        application: the Argo CD Application that owns it, or "".
        pool: the VirtualMachinePool that owns it, or "".
        load: the name of its load shape.
        agent: whether a guest agent answers.
        defect: for a malformed one, what is wrong with it.
    """

    index: int
    namespace: str
    name: str
    role: str
    team: str
    environment: str
    owner: str
    operating_system: str
    template: str
    cores: int
    memory_bytes: int
    instancetype: str
    preference: str
    disks: tuple[Disk, ...]
    run_strategy: str
    state: State
    created: datetime
    started: datetime | None
    stopped: datetime | None = None
    application: str = ""
    pool: str = ""
    load: str = ""
    agent: bool = True
    defect: str = ""
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Role:
    name: str
    weight: int
    systems: tuple[str, ...]
    sizes: tuple[tuple[int, int, str], ...]
    """(cores, GiB, the instancetype of that size)"""
    root_gib: tuple[int, ...]
    data_gib: tuple[int, ...]
    strategies: tuple[str, ...]
    loads: tuple[str, ...]
    ephemeral: bool = False


_LINUX = ("debian", "ubuntu", "fedora", "centos-stream")
_ROLES: Sequence[_Role] = (
    _Role(
        "web", 24, _LINUX, ((1, 2, "u1.small"), (2, 8, "u1.large"), (2, 4, "u1.2xmedium")), (10, 20, 30), (),
        ("Always", "Always", "Always", "RerunOnFailure"), ("office-hours", "steady", "steady", "bursty"),
    ),
    _Role(
        "app", 22, _LINUX, ((2, 8, "u1.large"), (4, 16, "u1.xlarge"), (2, 4, "u1.2xmedium")), (20, 30, 40), (),
        ("Always", "Always", "RerunOnFailure"), ("office-hours", "office-hours", "steady"),
    ),
    _Role(
        "db", 12, _LINUX[:2], ((4, 16, "u1.xlarge"), (8, 32, "u1.2xlarge"), (8, 64, "m1.2xlarge")), (20, 30),
        (100, 200, 500), ("Always", "Always", "RerunOnFailure"), ("steady", "office-hours", "nightly"),
    ),
    _Role(
        "dev", 16, (*_LINUX, "windows"), ((2, 8, "u1.large"), (4, 16, "u1.xlarge")), (40, 60), (),
        ("RerunOnFailure", "Manual", "Manual", "Halted", "Always"),
        ("office-hours", "agent-noise", "agent-noise", "dead"),
    ),
    _Role(
        "batch", 7, _LINUX[:2], ((8, 16, "cx1.2xlarge"), (16, 64, "u1.4xlarge")), (30,), (200,),
        ("Always", "Manual"), ("nightly",),
    ),
    _Role(
        "runner", 8, ("ubuntu", "fedora"), ((4, 8, "cx1.xlarge"), (2, 4, "u1.2xmedium")), (20,), (),
        ("Always", "Once", "RerunOnFailure"), ("bursty",), ephemeral=True,
    ),
    _Role(
        "win", 8, ("windows",), ((4, 16, "u1.xlarge"), (4, 8, "cx1.xlarge")), (80, 120), (),
        ("Always", "Always", "RerunOnFailure", "Halted"), ("office-hours", "steady", "agent-noise"),
    ),
    _Role(
        "legacy", 3, ("centos-stream", "debian"), ((2, 4, "u1.2xmedium"),), (20, 40), (),
        ("Always", "Halted"), ("dead", "agent-noise"),
    ),
)  # fmt: skip

_TEAMS = (
    "shop", "payments", "search", "analytics", "erp", "crm", "logistics", "identity", "media", "research",
    "billing",    "support", "mobile", "platform", "quality", "telemetry",
)  # fmt: skip
_ENVIRONMENTS = ("prod", "staging", "dev")
_PEOPLE = (
    "alice", "bela", "chen", "dana", "emeka", "farah", "goran", "hana", "ines", "jamal", "karin", "luca", "mira",
    "noor",    "olga", "pavel",
)  # fmt: skip
_SUFFIX = {
    "debian": "debian-13",
    "ubuntu": "ubuntu-24-04",
    "fedora": "fedora-43",
    "centos-stream": "centos-stream-10",
}
_PREFERENCES = {
    "debian": "debian", "ubuntu": "ubuntu", "fedora": "fedora", "centos-stream": "centos.stream10",
    "windows": "windows.2k25.virtio",
}  # fmt: skip
DEFECTS = ("no-template", "no-domain", "running-text", "no-status", "labels-null", "unknown-strategy")


def plan_fleet(count: int, *, seed: int, at: datetime) -> list[VmPlan]:
    """Draws a fleet of ``count`` VMs as it stands at an instant."""
    draw = random.Random(f"fleet/{seed}")
    namespaces = _plan_namespaces(count)
    plans: list[VmPlan] = []
    numbers: dict[tuple[str, str], int] = {}
    roles = [role for role in _ROLES for _ in range(role.weight)]
    for index in range(count):
        team, environment = namespaces[min(int(draw.expovariate(3.0) * len(namespaces)), len(namespaces) - 1)]
        role = draw.choice(roles)
        if role.name == "dev":
            environment = "dev"
        namespace = f"{team}-{environment}"
        number = numbers[namespace, role.name] = numbers.get((namespace, role.name), 0) + 1
        plans.append(_plan_vm(draw, index, at, team=team, environment=environment, role=role, number=number))
    return [_like_its_pool(plan, plans) for plan in plans]


def _like_its_pool(plan: VmPlan, plans: Sequence[VmPlan]) -> VmPlan:
    """A pool's VMs are made from one template: all are like the first."""
    if not plan.pool:
        return plan
    first = next(each for each in plans if (each.namespace, each.pool) == (plan.namespace, plan.pool))
    return replace(
        plan,
        operating_system=first.operating_system,
        template=first.template,
        cores=first.cores,
        memory_bytes=first.memory_bytes,
        instancetype=first.instancetype,
        preference=first.preference,
        disks=first.disks,
        owner=first.owner,
        load=first.load,
        agent=first.agent,
    )


def _plan_namespaces(count: int) -> list[tuple[str, str]]:
    teams = max(2, min(count // 20, 200))
    names = [
        _TEAMS[i] if i < len(_TEAMS) else f"{_TEAMS[i % len(_TEAMS)]}{i // len(_TEAMS) + 1}" for i in range(teams)
    ]
    return [(team, environment) for team in names for environment in _ENVIRONMENTS]


def _plan_vm(
    draw: random.Random, index: int, at: datetime, *, team: str, environment: str, role: _Role, number: int
) -> VmPlan:
    system = draw.choice(role.systems)
    cores, gib, instancetype = draw.choice(role.sizes)
    typed = draw.random() < 0.45
    created = at - timedelta(seconds=int(draw.triangular(2, 900, 200) * 86400))
    strategy = draw.choice(role.strategies)
    pool = f"{team}-runners" if role.ephemeral and strategy == "Always" and draw.random() < 0.5 else ""
    state = _draw_state(draw, strategy, environment)
    if pool and state != "running":
        state = "running"  # a pool replaces what does not run
    if draw.random() < 0.025 and not pool and strategy in ("Always", "Halted"):
        strategy = "running:true" if strategy == "Always" else "running:false"
    plan_strategy = _strategy_for(strategy, state)
    if state == "provisioning":
        created = at - timedelta(seconds=draw.randrange(5, 25))
    started = None
    if state in ("running", "paused"):
        started = max(
            created + timedelta(minutes=2), at - timedelta(seconds=int(draw.triangular(0.02, 120, 12) * 86400))
        )
    elif state in ("starting", "unschedulable", "crash-looping"):
        started = at - timedelta(seconds=draw.randrange(3, 12))
        created = max(created, at - timedelta(days=300)) if state != "starting" else created
    stopped = None
    if state == "stopped":
        stopped = max(
            created + timedelta(hours=1), at - timedelta(seconds=int(draw.triangular(0.05, 90, 6) * 86400))
        )
    name = f"{role.name}-{number}" if not pool else f"{pool}-{number}"
    application = f"{team}-{environment}" if environment == "prod" and not pool and draw.random() < 0.25 else ""
    return VmPlan(
        index=index,
        namespace=f"{team}-{environment}",
        name=name,
        role=role.name,
        team=team,
        environment=environment,
        owner=_PEOPLE[(index * 7 + len(team)) % len(_PEOPLE)],
        operating_system=system,
        template="" if role.name == "legacy" or draw.random() < 0.15 else _template(role, system),
        cores=cores,
        memory_bytes=gib * GI,
        instancetype=instancetype if typed else "",
        preference=_PREFERENCES[system] if typed and draw.random() < 0.9 else "",
        disks=_draw_disks(draw, role, system),
        run_strategy=plan_strategy,
        state=state,
        created=created,
        started=started,
        stopped=stopped,
        application=application,
        pool=pool,
        load=draw.choice(role.loads),
        agent=system != "windows" and draw.random() < 0.85,
        defect=draw.choice(DEFECTS) if state == "malformed" else "",
    )


def _draw_state(draw: random.Random, strategy: str, environment: str) -> State:
    if strategy == "Halted":
        return "malformed" if draw.random() < 0.03 else "stopped"
    value = draw.random()
    stopped = {"Always": 0.0, "Once": 0.5, "RerunOnFailure": 0.25, "Manual": 0.45}[strategy]
    if value < 0.012:
        return "malformed"
    if value < 0.020:
        return "crash-looping"
    if value < 0.035:
        return "provisioning"
    if value < 0.040:
        return "unschedulable"
    if value < 0.045:
        return "starting"
    if value < 0.060:
        return "paused"
    if value < 0.060 + stopped * (0.6 if environment == "prod" else 1.0):
        return "stopped"
    if strategy == "Always" and value > 0.90 and environment != "prod":
        return "stopped"
    return "running"


def _strategy_for(strategy: str, state: State) -> str:
    # An Always VM that is stopped is one that somebody stopped: virt-api has rewritten its strategy.
    if state == "stopped":
        return {"Always": "Halted", "Once": "Halted", "running:true": "running:false"}.get(strategy, strategy)
    if state == "crash-looping":
        return "Always"
    return strategy


def _draw_disks(draw: random.Random, role: _Role, system: str) -> tuple[Disk, ...]:
    root = draw.choice(role.root_gib) * GI
    if role.ephemeral:
        return (Disk("root", root, "container", f"quay.io/containerdisks/{system}:latest"),)
    image = _SUFFIX.get(system, "windows-2025")
    source: Literal["clone", "import"] = "clone" if draw.random() < 0.75 else "import"
    disks = [Disk("root", root, source, image)]
    if role.data_gib:
        disks.append(Disk("data", draw.choice(role.data_gib) * GI, "blank"))
    return tuple(disks)


def _template(role: _Role, system: str) -> str:
    return {"db": "database", "web": "web-server", "runner": "ci-runner"}.get(
        role.name, system if system != "windows" else "windows-server"
    )
