"""Ways to break a practice cluster for a while, each mended at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

from vmkit.cluster import Session
from vmkit.cluster.resources import Resource
from vmkit.lab import Lab
from vmkit.lab.faults import Fault

Trouble = Callable[[Lab, Session], AbstractContextManager[None]]


def nothing() -> Trouble:
    """The cluster as it is."""
    return lambda _lab, _session: nullcontext()


def refused(*plurals: str, status: int = 404) -> Trouble:
    """These kinds are not served (404), or forbidden (403)."""

    @contextmanager
    def trouble(lab: Lab, _session: Session) -> Iterator[None]:
        lab.call(lambda: lab.faults.add(Fault("error", status=status, resources=plurals)))
        yield
        lab.call(lab.faults.clear)

    return trouble


def patched(
    resource: Resource, name: str, patch: Mapping[str, Any], *, namespace: str | None = None, status: bool = False
) -> Trouble:
    """An object is changed by a merge patch, and set back."""

    @contextmanager
    def trouble(_lab: Lab, session: Session) -> Iterator[None]:
        before = session.get(resource, name, namespace)
        part = "status" if status else ""
        session.patch(resource, name, patch, namespace, subresource=part)
        yield
        session.patch(resource, name, _inverse(patch, before), namespace, subresource=part)

    return trouble


def _inverse(patch: Mapping[str, Any], before: Any) -> dict[str, Any]:
    known = before if isinstance(before, Mapping) else {}
    return {
        key: _inverse(value, known[key]) if isinstance(value, Mapping) and key in known else known.get(key)
        for key, value in patch.items()
    }


def added(*manifests: Mapping[str, Any]) -> Trouble:
    """Objects are there that were not; their status is written as well."""

    @contextmanager
    def trouble(_lab: Lab, session: Session) -> Iterator[None]:
        made: list[tuple[Resource, str, str | None]] = []
        for manifest in manifests:
            resource = session.resource_for(manifest["apiVersion"], manifest["kind"])
            namespace = manifest["metadata"].get("namespace")
            session.create(resource, manifest, namespace)
            made.append((resource, manifest["metadata"]["name"], namespace))
            if "status" in manifest:
                patch = {"status": manifest["status"]}
                session.patch(resource, made[-1][1], patch, namespace, subresource="status")
        yield
        for resource, name, namespace in reversed(made):
            session.delete(resource, name, namespace)

    return trouble


def removed(resource: Resource, name: str) -> Trouble:
    """An object is gone, and comes back."""

    @contextmanager
    def trouble(_lab: Lab, session: Session) -> Iterator[None]:
        before = session.get(resource, name)
        session.delete(resource, name)
        yield
        for key in ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"):
            before["metadata"].pop(key, None)
        session.create(resource, before)

    return trouble


def together(troubles: Sequence[Trouble]) -> Trouble:
    """Several at once."""

    @contextmanager
    def trouble(lab: Lab, session: Session) -> Iterator[None]:
        with ExitStack() as stack:
            for one in troubles:
                stack.enter_context(one(lab, session))
            yield

    return trouble
