"""Faults on demand: by verb, resource and namespace, at a rate or by a script.

A script is a sequence used up in order: ``[{"kind": "throttle", "times": 2}, {"kind": "pass"}, ...]``.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from vmkit.errors import ConfigError

if TYPE_CHECKING:
    from vmkit.lab.http.request import Target

KINDS: Final[Mapping[str, str]] = {
    "throttle": "429 with Retry-After",
    "error": "an HTTP error, by `status`",
    "reset-before": "the connection is cut before the server acts",
    "reset-after": "the connection is cut after the server acted",
    "truncate": "half of the answer, then the connection is cut",
    "slow": "the answer trickles in over `slow_seconds`",
    "delay": "the server thinks for `delay_seconds`, then answers",
    "webhook-timeout": "a write fails because a webhook does not answer",
    "stale-watch": "a watch that stays silent whatever happens",
    "cut-watch": "a watch that is cut after `after_events` events",
    "away": "the server is not there",
    "pass": "nothing: a place in a script",
}
_WRITES: Final = ("create", "update", "patch", "delete", "deletecollection")


@dataclass(slots=True)
class Fault:
    """One rule. Empty selections match everything.

    Args:
        kind: one of `KINDS`.
        verbs: create, get, list, watch, update, patch, delete, deletecollection.
        resources: "pods", "virtualmachines/start"; the group does not matter.
        namespaces: where.
        names: which objects.
        rate: the share of matching requests that it hits, 0 to 1.
        times: how often it hits before it is used up; None: always.
        skip: how many matching requests pass before it begins.
    """

    kind: str
    verbs: Sequence[str] = ()
    resources: Sequence[str] = ()
    namespaces: Sequence[str] = ()
    names: Sequence[str] = ()
    rate: float = 1.0
    times: int | None = None
    skip: int = 0
    status: int = 503
    message: str = ""
    retry_after_seconds: int = 1
    delay_seconds: float = 0.0
    slow_seconds: float = 1.0
    after_events: int = 1
    hits: int = field(default=0)
    seen: int = field(default=0)

    def matches(self, target: Target) -> bool:
        """Whether a request is one this is about."""
        resource = f"{target.resource}/{target.subresource}" if target.subresource else target.resource
        if self.kind == "webhook-timeout" and target.verb not in _WRITES:
            return False
        if self.kind in ("stale-watch", "cut-watch") and target.verb != "watch":
            return False
        return (
            (not self.verbs or target.verb in self.verbs)
            and (not self.resources or resource in self.resources)
            and (not self.namespaces or target.namespace in self.namespaces)
            and (not self.names or target.name in self.names)
        )

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults, and how often it has hit."""
        plain = Fault(self.kind)
        document = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if getattr(self, each.name) != getattr(plain, each.name)
        }
        return {"kind": self.kind, **document}


def parse_fault(document: object, *, where: str = "") -> Fault:
    """A fault from a mapping (from a file, the command line or the control API).

    Raises:
        ConfigError: an unknown kind or field, or a value of the wrong type.
    """
    if not isinstance(document, Mapping):
        raise ConfigError(f"{document!r} is not a fault", hint='write {"kind": "throttle"}', where=where)
    kind = document.get("kind")
    if kind not in KINDS:
        raise ConfigError(f"{kind!r} is not a kind of fault", hint="one of " + ", ".join(KINDS), where=where)
    known = {each.name for each in fields(Fault)} - {"hits", "seen"}
    unknown = sorted(set(map(str, document)) - known)
    if unknown:
        hint = "a fault has " + ", ".join(sorted(known))
        raise ConfigError(f"a fault has no {unknown[0]!r}", hint=hint, where=where)
    settings = dict(document)
    for name in ("verbs", "resources", "namespaces", "names"):
        value = settings.get(name)
        if isinstance(value, str):
            settings[name] = (value,)
        elif value is not None and not isinstance(value, (list, tuple)):
            raise ConfigError(f"{name} of a fault is a list", hint=f'write {name}: ["..."]', where=where)
    for name in ("rate", "delay_seconds", "slow_seconds", "times", "skip", "status", "retry_after_seconds"):
        value = settings.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0):
            raise ConfigError(f"{name} of a fault is a number, and not negative", where=where)
    fault = Fault(**settings)
    if fault.rate > 1:
        raise ConfigError("rate of a fault is a share between 0 and 1", where=where)
    return fault


class Faults:
    """The faults of one lab: rules in order, and a script that goes before them."""

    def __init__(self, seed: int = 1) -> None:
        self._rules: list[Fault] = []
        self._script: list[Fault] = []
        self._random = random.Random(seed)

    def __bool__(self) -> bool:
        return bool(self._rules or self._script)

    def add(self, fault: Fault) -> None:
        """Adds a rule."""
        self._rules.append(fault)

    def play(self, script: Sequence[Fault]) -> None:
        """Adds steps to the script: each hits the next matching request, so often as its ``times`` says."""
        self._script.extend(script)

    def clear(self) -> None:
        """Ends all faults."""
        self._rules.clear()
        self._script.clear()

    def list(self) -> list[dict[str, Any]]:
        """The rules, and what is left of the script."""
        return [fault.to_dict() for fault in (*self._script, *self._rules)]

    def pick(self, target: Target) -> Fault | None:
        """The fault that hits a request, if any."""
        if self._script:
            step = self._script[0]
            if step.matches(target):
                step.hits += 1
                if step.hits >= (step.times or 1):
                    del self._script[0]
                return None if step.kind == "pass" else step
        for fault in self._rules:
            if not fault.matches(target):
                continue
            fault.seen += 1
            if fault.seen <= fault.skip or (fault.times is not None and fault.hits >= fault.times):
                continue
            if fault.rate < 1 and self._random.random() >= fault.rate:
                continue
            fault.hits += 1
            return None if fault.kind == "pass" else fault
        return None
