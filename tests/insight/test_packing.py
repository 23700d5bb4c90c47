"""Which servers could be off."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from vmkit.insight.packing import Load, Server, decide_consolidation
from vmkit.insight.recommender import Resources

_GIB = 2**30


def _server(name: str, *, memory: int = 64, cpu: int = 32_000, kept: str = "", usable: bool = True) -> Server:
    return Server(name, Resources(cpu, memory * _GIB), kept, usable)


def _load(name: str, node: str, memory: int, *, cpu: int = 100, **more: object) -> Load:
    return Load(name, Resources(cpu, memory * _GIB), node, **more)  # type: ignore[arg-type]


def test_of_three_half_empty_servers_one_works_one_is_spare_and_one_is_off() -> None:
    servers = [_server(f"n{number}") for number in (1, 2, 3)]
    found = decide_consolidation(servers, [_load(f"a/vm-{n}", f"n{n}", 16) for n in (1, 2, 3)])
    assert found.needed == 2
    assert len(found.off) == 1
    assert found.spare
    (off,) = found.off
    assert [(move.load, move.source) for move in off.moves] == [(f"a/vm-{off.server[1]}", off.server)]
    assert found.spare not in {move.target for move in off.moves}


def test_without_a_server_to_spare_none_is_off() -> None:
    found = decide_consolidation([_server("n1"), _server("n2")], [_load("a/x", "n1", 8), _load("a/y", "n2", 8)])
    assert (found.needed, found.off) == (2, ())
    assert found.spare


def test_servers_that_are_kept_stay_on_and_take_what_the_others_leave() -> None:
    servers = [_server("ceph", kept="runs a Ceph OSD"), _server("n1"), _server("n2")]
    found = decide_consolidation(servers, [_load("a/x", "n1", 8), _load("a/y", "n2", 8)])
    assert found.kept == {"ceph": "runs a Ceph OSD"}
    assert [off.server for off in found.off] == ["n1"]
    assert found.spare == "n2"
    assert {move.target for off in found.off for move in off.moves} == {"ceph"}


def test_what_cannot_move_keeps_its_server_on() -> None:
    servers = [_server(f"n{number}") for number in (1, 2, 3, 4)]
    loads = [_load("a/x", "n1", 8, pinned="cannot be migrated"), _load("a/y", "n2", 8), _load("a/z", "n3", 8)]
    found = decide_consolidation(servers, loads)
    assert found.kept == {"n1": "a/x cannot be migrated"}
    assert {off.server for off in found.off} | {found.spare} == {"n2", "n3", "n4"}


def test_a_load_goes_only_where_it_may() -> None:
    servers = [_server(f"n{number}") for number in (1, 2, 3)]
    loads = [_load("a/x", "n1", 8, nodes=frozenset({"n1", "n2"})), _load("a/y", "n3", 8)]
    found = decide_consolidation(servers, loads)
    for off in found.off:
        for move in off.moves:
            assert move.load != "a/x" or move.target in {"n1", "n2"}


def test_cordoned_servers_take_nothing_and_are_not_counted_as_freed() -> None:
    servers = [_server("n1"), _server("n2", usable=False), _server("n3")]
    found = decide_consolidation(servers, [_load("a/x", "n1", 8), _load("a/y", "n2", 8)])
    assert found.off == ()
    assert found.needed == 3


def test_what_fits_nowhere_is_named() -> None:
    found = decide_consolidation([_server("n1")], [_load("a/huge", "", 100), _load("a/small", "", 1)])
    assert found.unplaced == ("a/huge",)


def test_memory_that_runs_out_first_strands_cpu() -> None:
    found = decide_consolidation(
        [_server("n1", memory=64, cpu=32_000)], [_load(f"a/{n}", "n1", 8, cpu=400) for n in range(8)]
    )
    assert found.stranded.memory_bytes == 0
    assert found.stranded.cpu_millicores == 32_000 - 8 * 400


def test_a_load_that_passes_an_emptied_server_is_moved_once() -> None:
    servers = [_server(f"n{number}", memory=10 * number) for number in range(1, 6)]
    loads = [_load(f"a/{number}", f"n{number}", 2) for number in range(1, 6)]
    found = decide_consolidation(servers, loads)
    moved = [move.load for off in found.off for move in off.moves]
    assert len(moved) == len(set(moved))
    gone = {off.server for off in found.off}
    assert not gone & {move.target for off in found.off for move in off.moves}


@given(st.data())
def test_what_stays_on_holds_everything(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 6))
    servers = [
        _server(
            f"n{number}",
            memory=data.draw(st.integers(1, 64)),
            cpu=data.draw(st.integers(100, 5_000)),
            kept=data.draw(st.sampled_from(["", "", "stays"])),
        )
        for number in range(count)
    ]
    free = {server.name: [server.room.cpu_millicores, server.room.memory_bytes] for server in servers}
    loads = []
    for number in range(data.draw(st.integers(0, 15))):
        memory, cpu = data.draw(st.integers(0, 12)), data.draw(st.integers(0, 900))
        node = data.draw(st.sampled_from([server.name for server in servers]))
        if free[node][0] < cpu or free[node][1] < memory * _GIB:
            continue
        free[node][0] -= cpu
        free[node][1] -= memory * _GIB
        loads.append(_load(f"a/{number}", node, memory, cpu=cpu))
    found = decide_consolidation(servers, loads)
    gone = {off.server for off in found.off}
    targets = {move.load: move.target for off in found.off for move in off.moves}
    used: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for load in loads:
        where = targets.get(load.name, load.node)
        assert where not in gone
        used[where][0] += load.requests.cpu_millicores
        used[where][1] += load.requests.memory_bytes
    rooms = {server.name: server.room for server in servers}
    for name, (cpu, memory) in used.items():
        assert (cpu, memory) <= (rooms[name].cpu_millicores, memory)
        assert memory <= rooms[name].memory_bytes
    assert found.needed + len(gone) == count
    # The spare is as large as any server that could be off beside it.
    assert all(rooms[found.spare].memory_bytes >= rooms[name].memory_bytes for name in gone)


def test_cpu_in_use_counts_where_it_is_more_than_requested() -> None:
    servers = [_server(f"n{number}", cpu=4000) for number in (1, 2, 3)]
    loads = [_load(f"a/{number}", f"n{number}", 4, used_cpu_millicores=3000) for number in (1, 2, 3)]
    assert decide_consolidation(servers, loads).off == ()
    idle = [_load(f"a/{number}", f"n{number}", 4, used_cpu_millicores=300) for number in (1, 2, 3)]
    assert len(decide_consolidation(servers, idle).off) == 1
