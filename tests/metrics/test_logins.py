"""Who is logged in, as guest agents of the practice cluster tell."""

from __future__ import annotations

import time
from datetime import UTC

from vmkit.cluster import Session
from vmkit.cluster.resources import VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES
from vmkit.metrics.logins import read_logins
from vmkit.metrics.summary import Login, Unknown
from vmkit.vm.reference import VmRef


def make(session: Session, name: str, **guest: str) -> None:
    session.create(
        VIRTUAL_MACHINES,
        {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachine",
            "metadata": {"name": name},
            "spec": {
                "runStrategy": "Always",
                "template": {
                    "metadata": {
                        "annotations": {f"lab.vmkit.io/guest-{key}": value for key, value in guest.items()}
                    },
                    "spec": {"domain": {"devices": {}, "memory": {"guest": "1Gi"}}},
                },
            },
        },
    )


def wait_for_agent(session: Session, name: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        found = session.find(VIRTUAL_MACHINE_INSTANCES, name)
        conditions = ((found or {}).get("status") or {}).get("conditions") or []
        if any(each["type"] == "AgentConnected" and each["status"] == "True" for each in conditions):
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_users_nobody_and_guests_that_do_not_tell(session: Session, namespace: str) -> None:
    make(session, "used", users="ada,ben")
    make(session, "empty")
    make(session, "mute", agent="false")
    for name in ("used", "empty"):
        wait_for_agent(session, name)
    refs = {name: VmRef(namespace, name) for name in ("used", "empty", "mute", "none")}
    found = read_logins(session, refs.values())
    assert found.keys() == set(refs.values())
    assert found[refs["empty"]] == ()
    users = found[refs["used"]]
    assert not isinstance(users, Unknown)
    assert all(isinstance(user, Login) and user.since is not None and user.since.tzinfo is UTC for user in users)
    assert {user.user for user in users} == {"ada", "ben"}
    for name in ("mute", "none"):
        silent = found[refs[name]]
        assert isinstance(silent, Unknown)
        assert silent.code == "AgentSilent", silent


def test_nobody_to_ask_about_asks_nothing(session: Session) -> None:
    assert read_logins(session, []) == {}
