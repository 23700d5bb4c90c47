"""Who is logged in to VMs, as their guest agents tell through KubeVirt's API."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from vmkit.cluster.resources import VIRTUAL_MACHINE_INSTANCES
from vmkit.cluster.retry import RetryPolicy
from vmkit.errors import Conflict, Forbidden, MissingApi, NotFound, ServerFault, VmkitError
from vmkit.metrics.summary import Login, Unknown
from vmkit.vm.reference import VmRef

if TYPE_CHECKING:
    from vmkit.cluster.session import Session

_WORKERS: Final = 8
_TIMEOUT_SECONDS: Final = 15.0
_PATIENCE: Final = RetryPolicy(attempts=2, first_contact_attempts=2, deadline_seconds=20.0)
"""A guest without an agent looks like a fault of the server, which is asked again: once, not for long."""
_KIND: Final = "VirtualMachineInstanceGuestOSUserList"


def read_logins(
    session: Session, refs: Collection[VmRef], *, workers: int = _WORKERS
) -> Mapping[VmRef, tuple[Login, ...] | Unknown]:
    """Who is logged in to each VM now; needs "get" on ``virtualmachineinstances/userlist``.

    Every VM asked about is answered; nothing is raised. One request a VM: ask only about those whose agent is
    connected, and that are idle but for this.

    Source: KubeVirt pkg/virt-api/rest/subresource.go (UserList) and api/core/v1 VirtualMachineInstanceGuestOSUser:
    loginTime is in Unix seconds with a fraction.
    """
    ordered = sorted(set(refs))
    if not ordered:
        return {}
    threads = min(workers, len(ordered))
    with (
        session.sibling(request_timeout_seconds=_TIMEOUT_SECONDS, retry=_PATIENCE, connections=threads) as patient,
        ThreadPoolExecutor(threads, thread_name_prefix="logins") as pool,
    ):
        return dict(zip(ordered, pool.map(lambda ref: _read(patient, ref), ordered), strict=True))


def _read(session: Session, ref: VmRef) -> tuple[Login, ...] | Unknown:
    try:
        reply = session.call_subresource(
            VIRTUAL_MACHINE_INSTANCES, ref.name, "userlist", ref.namespace, method="GET"
        )
    except (Conflict, NotFound) as error:
        return Unknown("AgentSilent", f"its guest agent does not tell: {error.message}")
    except ServerFault as error:
        # virt-api answers 500 for a guest without an agent, and for one that does not run.
        code = "AgentSilent" if error.status == 500 else "LoginsUnread"
        return Unknown(code, f"its guest agent does not tell: {error.message}")
    except (Forbidden, MissingApi) as error:
        return Unknown("LoginsForbidden", error.message)
    except VmkitError as error:
        return Unknown("LoginsUnread", error.message)
    answered = reply is not None and reply.get("kind") == _KIND
    # Nobody is null or no list at all, as Go writes an empty one.
    items = (reply.get("items") or []) if answered and reply is not None else None
    if not isinstance(items, list):
        return Unknown("LoginsUnread", "the answer of its guest agent cannot be understood")
    return tuple(_read_login(each) for each in items)


def _read_login(item: Any) -> Login:
    # Somebody is somebody, even where the rest cannot be read.
    if not isinstance(item, Mapping):
        return Login("")
    return Login(str(item.get("userName") or ""), _instant(item.get("loginTime")))


def _instant(value: Any) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
