"""Other tools' schedules, in vmkit's words: kube-green's SleepInfos, and the downscalers' annotations.

Sources: kube-green api/v1alpha1/sleepinfo_types.go (weekdays, sleepAt, wakeUpAt, timeZone, UTC by default).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vmkit.cluster.resources import NAMESPACES, VIRTUAL_MACHINES, Resource
from vmkit.cluster.session import Session
from vmkit.errors import InputError, MissingApi, NotFound, ScheduleError
from vmkit.schedule.downscaler import PREFIX
from vmkit.schedule.parse import parse_schedule
from vmkit.schedule.sources import DOWNTIME, SCHEDULE

SLEEP_INFOS: Final = Resource("kube-green.com", "v1alpha1", "sleepinfos", "SleepInfo")
_TIME: Final = re.compile(r"(\*|[0-9]{1,2}):(\*|[0-9]{1,2})")


@dataclass(frozen=True, slots=True)
class Imported:
    """What another tool says about one object, and what says the same to vmkit.

    Attributes:
        kind, namespace, name: the object the annotations belong on.
        source: where it was found, for people.
        annotations: what says the same; empty where nothing does.
        problem: why nothing does; empty otherwise.
    """

    kind: str
    namespace: str
    name: str
    source: str
    annotations: Mapping[str, str]
    problem: str = ""

    def to_manifest(self) -> dict[str, Any]:
        """The object with these annotations alone, to be applied."""
        metadata: dict[str, Any] = {"name": self.name, "annotations": dict(self.annotations)}
        if self.kind == "Namespace":
            return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        metadata = {"namespace": self.namespace, **metadata}
        return {"apiVersion": VIRTUAL_MACHINES.api_version, "kind": self.kind, "metadata": metadata}


def read_imports(session: Session, *, namespace: str | None = None, dialect: str = "python") -> Iterator[Imported]:
    """What other tools' schedules are there.

    Args:
        session: the cluster.
        namespace: only this one.
        dialect: whose downscaler annotations: "python" or "go".

    Raises:
        ClusterError: something cannot be read.
    """
    yield from _sleep_infos(session, namespace)
    namespaces = [session.get(NAMESPACES, namespace)] if namespace is not None else session.list(NAMESPACES)
    for document in namespaces:
        yield from _downscaler(document, "Namespace", dialect)
    for document in session.list(VIRTUAL_MACHINES, namespace):
        yield from _downscaler(document, "VirtualMachine", dialect)


def _sleep_infos(session: Session, namespace: str | None) -> Iterator[Imported]:
    try:
        documents = list(session.list(SLEEP_INFOS, namespace))
    except (NotFound, MissingApi):
        return
    by_namespace: dict[str, list[dict[str, Any]]] = {}
    for document in documents:
        by_namespace.setdefault(str(_mapping(document, "metadata").get("namespace", "")), []).append(document)
    for name, those in sorted(by_namespace.items()):
        names = ", ".join(str(_mapping(one, "metadata").get("name", "")) for one in those)
        source = f"SleepInfo {names}"
        try:
            text = "; ".join(read_sleep_info(_mapping(one, "spec")) for one in those)
            parse_schedule(text)
        except InputError as error:
            yield Imported("Namespace", "", name, source, {}, error.message)
            continue
        yield Imported("Namespace", "", name, source, {SCHEDULE: text})


def read_sleep_info(spec: Mapping[str, Any]) -> str:
    """A SleepInfo's spec as a schedule of starts and stops.

    Raises:
        ScheduleError: it cannot be said so.
    """
    weekdays, zone = spec.get("weekdays"), spec.get("timeZone") or "UTC"
    if not isinstance(weekdays, str) or not isinstance(zone, str):
        raise ScheduleError("weekdays or timeZone is no text")
    parts = []
    for word, key in (("start", "wakeUpAt"), ("stop", "sleepAt")):
        at = spec.get(key)
        if at is None:
            continue
        match = _TIME.fullmatch(at) if isinstance(at, str) else None
        if match is None:
            raise ScheduleError(f"{key}: {at!r} is no time")
        parts.append(f"{word} cron({match[2]} {match[1]} * * {weekdays}) {zone}")
    if not parts:
        raise ScheduleError("it neither sleeps nor wakes")
    return "; ".join(parts)


def _downscaler(document: Mapping[str, Any], kind: str, dialect: str) -> Iterator[Imported]:
    metadata = _mapping(document, "metadata")
    annotations = _mapping(metadata, "annotations")
    found = {key: text for key, text in annotations.items() if key.startswith(PREFIX) and isinstance(text, str)}
    if not found:
        return
    namespace, name = str(metadata.get("namespace", "")), str(metadata.get("name", ""))
    source = ", ".join(sorted(found))
    try:
        yield Imported(kind, namespace, name, source, _translate(found, dialect))
    except InputError as error:
        yield Imported(kind, namespace, name, source, {}, error.message)


def _translate(found: Mapping[str, str], dialect: str) -> dict[str, str]:
    hours = {key for key in ("uptime", "downtime") if PREFIX + key in found}
    periods = [key for key in found if key.endswith("-period") and "grace" not in key]
    if periods or len(hours) == 2:
        raise ScheduleError(
            f"{' and '.join(sorted([*periods, *hours]))} cannot be said in one schedule of vmkit's"
        )
    translated = {}
    for key in hours:
        text = found[PREFIX + key]
        theirs = parse_schedule(text, dialect=dialect)
        ours = parse_schedule(text.replace(" - ", "-"))
        if theirs.rules != ours.rules:
            raise ScheduleError(f"{text!r} means another thing in vmkit's own words")
        translated[SCHEDULE if key == "uptime" else DOWNTIME] = text
    for key in ("force-uptime", "force-downtime", "exclude", "exclude-until"):
        if PREFIX + key in found:
            translated[f"vmkit.io/{key}"] = found[PREFIX + key]
    if not translated:
        raise ScheduleError("nothing in it is about time")
    return translated


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}
