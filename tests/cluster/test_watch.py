from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.cluster.peer import Answer, Peer, events, listing, refuse, vm
from vmkit.cluster import Watch
from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.errors import Forbidden, ServerFault


def take(watch: Watch, count: int) -> list[tuple[str, str]]:
    found = []
    for event in watch:
        found.append((event.type, event.object["metadata"]["name"]))
        if len(found) == count:
            break
    watch.close()
    return found


def bookmark(version: int) -> tuple[str, object]:
    return ("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


GONE = ("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"})


def test_without_a_version_what_is_there_comes_first(peer: Peer, tmp_path: Path) -> None:
    peer.script(listing(vm("a"), vm("b"), version=5), events(("MODIFIED", vm("a", 6)), stay_open=True))
    with peer.connect(tmp_path) as session:
        found = take(session.watch(VIRTUAL_MACHINES, "default"), 3)
    assert found == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a")]
    assert "resourceVersion=5" in peer.seen[1].path
    assert "allowWatchBookmarks=true" in peer.seen[1].path


def test_a_watch_that_ends_is_resumed_where_it_ended(peer: Peer, tmp_path: Path) -> None:
    peer.script(
        events(("MODIFIED", vm("a", 6))),
        events(bookmark(9)),
        events(("DELETED", vm("a", 10)), stay_open=True),
    )
    with peer.connect(tmp_path) as session:
        found = take(session.watch(VIRTUAL_MACHINES, resource_version="5"), 2)
    assert found == [("MODIFIED", "a"), ("DELETED", "a")]
    versions = [seen.path.partition("resourceVersion=")[2].partition("&")[0] for seen in peer.seen]
    assert versions == ["5", "6", "9"]


def test_a_line_cut_in_two_by_a_broken_connection_comes_again(peer: Peer, tmp_path: Path) -> None:
    both = events(("MODIFIED", vm("a", 6)), ("MODIFIED", vm("b", 7)))
    peer.script(
        Answer(200, both.body, cut_at=len(both.body) - 20), events(("MODIFIED", vm("b", 7)), stay_open=True)
    )
    with peer.connect(tmp_path) as session:
        found = take(session.watch(VIRTUAL_MACHINES, resource_version="5"), 2)
    assert found == [("MODIFIED", "a"), ("MODIFIED", "b")]


@pytest.mark.parametrize("forgotten", [events(GONE), refuse(410, "Expired", "too old")])
def test_a_forgotten_version_is_made_up_for_by_listing(peer: Peer, tmp_path: Path, forgotten: Answer) -> None:
    peer.script(
        listing(vm("a", 1), vm("b", 2), vm("c", 3), version=5),
        forgotten,
        listing(vm("a", 1), vm("b", 8), vm("d", 9), version=20),
        events(("MODIFIED", vm("d", 21)), stay_open=True),
    )
    with peer.connect(tmp_path) as session:
        found = take(session.watch(VIRTUAL_MACHINES), 7)
    assert found == [
        ("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c"),
        ("MODIFIED", "b"), ("ADDED", "d"), ("DELETED", "c"),
        ("MODIFIED", "d"),
    ]  # fmt: skip


def test_a_server_that_is_away_for_a_moment_is_waited_for(peer: Peer, tmp_path: Path) -> None:
    peer.script(
        Answer(hang_up=True), refuse(503, "ServiceUnavailable"), events(("ADDED", vm("a", 6)), stay_open=True)
    )
    with peer.connect(tmp_path) as session:
        assert take(session.watch(VIRTUAL_MACHINES, resource_version="5"), 1) == [("ADDED", "a")]


def test_a_refusal_ends_the_watch(peer: Peer, tmp_path: Path) -> None:
    peer.script(refuse(403, "Forbidden", "no"))
    with peer.connect(tmp_path) as session, pytest.raises(Forbidden):
        next(session.watch(VIRTUAL_MACHINES, resource_version="5"))
    peer.script(refuse(503, "ServiceUnavailable"))
    with peer.connect(tmp_path) as session, pytest.raises(ServerFault):
        next(session.watch(VIRTUAL_MACHINES, resource_version="5"))


def test_nonsense_in_the_stream_is_passed_over(peer: Peer, tmp_path: Path) -> None:
    body = b'\n{"type": 3}\nno json\n[]\n{"type": "ADDED", "object": 5}\n' + events(("ADDED", vm("a", 6))).body
    peer.script(Answer(200, body, stay_open=True))
    with peer.connect(tmp_path) as session:
        assert take(session.watch(VIRTUAL_MACHINES, resource_version="5"), 1) == [("ADDED", "a")]


def test_a_watch_can_be_ended_from_another_thread_while_it_is_silent(peer: Peer, tmp_path: Path) -> None:
    peer.script(events(("ADDED", vm("a", 6)), stay_open=True))
    seen, ended = threading.Event(), threading.Event()
    with peer.connect(tmp_path) as session:
        watch = session.watch(VIRTUAL_MACHINES, resource_version="5")

        def read() -> None:
            for _ in watch:
                seen.set()
            ended.set()

        threading.Thread(target=read, daemon=True).start()
        assert seen.wait(60)
        watch.close()
        assert ended.wait(60)


def test_a_watch_ends_by_itself_when_its_time_is_over(peer: Peer, tmp_path: Path) -> None:
    peer.script(events(("ADDED", vm("a", 6))), events())
    with peer.connect(tmp_path) as session:
        found = [
            event.type for event in session.watch(VIRTUAL_MACHINES, resource_version="5", timeout_seconds=0.2)
        ]
    assert found == ["ADDED"]
