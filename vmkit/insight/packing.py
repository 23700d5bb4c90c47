"""How many servers a fleet needs, and which of today's could be switched off: bin packing of what pods request.

A server that is off takes no power at all; one that idles takes much of what it takes at work. So the question is
which whole servers can be emptied, with one to spare, and by which moves.

What is packed are the requests of pods, as the scheduler counts them: KubeVirt requests a tenth of a core for each
virtual CPU unless told otherwise, so that memory fills servers first. Where a VM uses more CPU than it requests,
its use counts: the scheduler would put more on a server than it can carry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from vmkit.insight.recommender import Resources

NOTHING: Final = Resources(0, 0)


@dataclass(frozen=True, slots=True)
class Load:
    """Something that occupies a server: the launcher of a VM, or another pod that would have to move.

    Attributes:
        name: "namespace/name".
        requests: what the scheduler counts.
        node: where it is; empty for a VM that is stopped now and will want room again.
        nodes: the only servers it may be on; None for any.
        pinned: why it cannot be moved; empty where it can.
        is_vm: whether it is a VM.
        used_cpu_millicores: what it really uses, where that is known: servers are not filled beyond it, whatever
            the scheduler would let through.
    """

    name: str
    requests: Resources
    node: str = ""
    nodes: frozenset[str] | None = None
    pinned: str = ""
    is_vm: bool = True
    used_cpu_millicores: int = 0

    @property
    def room(self) -> Resources:
        """What it needs of a server: what it requests, and no less CPU than it uses."""
        return Resources(max(self.requests.cpu_millicores, self.used_cpu_millicores), self.requests.memory_bytes)


@dataclass(frozen=True, slots=True)
class Server:
    """A node.

    Attributes:
        name: its name.
        room: what its pods may request together, less what stays on it whatever happens (daemon sets).
        kept: why it is not to be switched off; empty where it may be.
        usable: whether pods may be put there at all (ready, not cordoned).
        places: the zone and the region it says it is in.
    """

    name: str
    room: Resources
    kept: str = ""
    usable: bool = True
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """A load that leaves a server which is to be switched off."""

    load: str
    source: str
    target: str
    is_vm: bool = True


@dataclass(frozen=True, slots=True)
class Emptied:
    """A server that can be switched off, and where what is on it goes."""

    server: str
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class Consolidation:
    """Which servers a fleet needs.

    Attributes:
        servers: how many there are.
        kept: servers that stay on whatever happens, each with the reason.
        off: those that could be off, in the order in which they are to be emptied.
        spare: the empty server that stays on in case another fails; empty where there is none to keep.
        unplaced: loads that fit nowhere, as things are: they are in no figure.
        stranded: what is free and cannot be used, because the other resource runs out first.
    """

    servers: int
    kept: Mapping[str, str] = field(default_factory=dict)
    off: tuple[Emptied, ...] = ()
    spare: str = ""
    unplaced: tuple[str, ...] = ()
    stranded: Resources = NOTHING

    @property
    def needed(self) -> int:
        """How many servers stay on."""
        return self.servers - len(self.off)


class _Room:
    """What is free on each server while loads are being moved."""

    def __init__(self, servers: Iterable[Server]) -> None:
        self.cpu = {server.name: server.room.cpu_millicores for server in servers}
        self.memory = {server.name: server.room.memory_bytes for server in servers}

    def fits(self, load: Load, name: str) -> bool:
        if load.nodes is not None and name not in load.nodes:
            return False
        cpu, memory = load.room
        return cpu <= self.cpu[name] and memory <= self.memory[name]

    def take(self, load: Load, name: str, sign: int = 1) -> None:
        self.cpu[name] -= sign * load.room.cpu_millicores
        self.memory[name] -= sign * load.room.memory_bytes

    def copy(self) -> _Room:
        other = _Room(())
        other.cpu, other.memory = dict(self.cpu), dict(self.memory)
        return other

    def fullest(self, load: Load, names: Iterable[str]) -> str:
        """The server with the least memory left that still takes the load; empty for none."""
        fitting = [name for name in names if self.fits(load, name)]
        return min(fitting, key=lambda name: (self.memory[name], name), default="")


def decide_consolidation(servers: Iterable[Server], loads: Iterable[Load]) -> Consolidation:
    """Which servers could be off, with one to spare.

    Servers are emptied one after the other, the emptiest first, each only if all that is on it fits on those that
    stay (largest first, each where the least memory is left). The largest of the emptied ones then stays on: it
    can take over what another runs.

    A server stays on where it is told to (`Server.kept`), and where something on it cannot be moved.
    """
    every = sorted(servers, key=lambda server: server.name)
    by_name = {server.name: server for server in every}
    room = _Room(every)
    placed: dict[str, list[Load]] = {server.name: [] for server in every}
    homeless: list[Load] = []
    for load in sorted(loads, key=lambda one: one.name):
        if load.node in placed:
            placed[load.node].append(load)
            room.take(load, load.node)
        else:
            homeless.append(load)
    unplaced: list[str] = []
    usable = [server.name for server in every if server.usable]
    for load in sorted(homeless, key=_by_size):
        found = room.fullest(load, usable)
        if found:
            placed[found].append(load)
            room.take(load, found)
        else:
            unplaced.append(load.name)
    kept = {server.name: why for server in every if (why := server.kept or _why_pinned(placed[server.name]))}
    emptied, room, placed = _empty(usable, kept, room, placed)
    spare = max(emptied, key=lambda name: (by_name[name].room.memory_bytes, name), default="")
    off = tuple(Emptied(name, tuple(moves)) for name, moves in emptied.items() if name != spare)
    on = [name for name in usable if name not in emptied or name == spare]
    return Consolidation(
        servers=len(every),
        kept=kept,
        off=off,
        spare=spare,
        unplaced=tuple(unplaced),
        stranded=_compute_stranded(room, on, [load for name in placed for load in placed[name] if load.is_vm]),
    )


def _empty(
    usable: Sequence[str], kept: Mapping[str, str], room: _Room, placed: Mapping[str, list[Load]]
) -> tuple[dict[str, list[Move]], _Room, dict[str, list[Load]]]:
    emptied: dict[str, list[Move]] = {}
    current = {name: list(loads) for name, loads in placed.items()}
    candidates = sorted(
        (name for name in usable if name not in kept),
        key=lambda name: (sum(load.room.memory_bytes for load in current[name]), room.memory[name], name),
    )
    for name in candidates:
        others = [other for other in usable if other != name and other not in emptied]
        trial, targets = room.copy(), {}
        for load in sorted(current[name], key=_by_size):
            target = trial.fullest(load, others)
            if not target:
                break
            trial.take(load, target)
            targets[load.name] = target
        if len(targets) < len(current[name]):
            continue
        for load in current[name]:
            trial.take(load, name, sign=-1)
            current[targets[load.name]].append(load)
        emptied[name] = [
            Move(load.name, name, targets[load.name], load.is_vm) for load in current[name] if load.node
        ]
        current[name] = []
        room = trial
    return _settle(emptied, current), room, current


def _settle(emptied: dict[str, list[Move]], current: Mapping[str, list[Load]]) -> dict[str, list[Move]]:
    # What went from one emptied server to another goes to its last place at once.
    last = {load.name: name for name, loads in current.items() for load in loads}
    return {
        name: [replace(move, target=last[move.load]) for move in moves if not _came_by(move, emptied, name)]
        for name, moves in emptied.items()
    }


def _came_by(move: Move, emptied: Mapping[str, list[Move]], name: str) -> bool:
    """Whether a load was only passing through: an earlier server's moves bring it here."""
    for earlier, moves in emptied.items():
        if earlier == name:
            return False
        if any(other.load == move.load for other in moves):
            return True
    return False


def _by_size(load: Load) -> tuple[int, int, str]:
    return (-load.room.memory_bytes, -load.room.cpu_millicores, load.name)


def _why_pinned(loads: Iterable[Load]) -> str:
    return next((f"{load.name} {load.pinned}" for load in loads if load.pinned), "")


def _compute_stranded(room: _Room, names: Iterable[str], vms: Sequence[Load]) -> Resources:
    """What would stay free of one resource when more VMs like these had filled the other."""
    if not vms:
        return NOTHING
    cpu = sum(load.room.cpu_millicores for load in vms) / len(vms)
    memory = sum(load.room.memory_bytes for load in vms) / len(vms)
    lost_cpu = lost_memory = 0.0
    for name in names:
        free_cpu, free_memory = max(room.cpu[name], 0), max(room.memory[name], 0)
        ratios = [free / each for free, each in ((free_cpu, cpu), (free_memory, memory)) if each > 0]
        more = min(ratios, default=0.0)
        lost_cpu += free_cpu - more * cpu
        lost_memory += free_memory - more * memory
    return Resources(int(lost_cpu), int(lost_memory))
