"""What a rule is, and what it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from vmkit.migrate.facts import Evidence, Facts
from vmkit.migrate.machine import Machine
from vmkit.migrate.services import Service


class Target(StrEnum):
    """What a workload may become."""

    CONTAINER = "container"
    WASM = "wasm"


class Category(StrEnum):
    """How much a finding matters. A blocker decides alone; the others cost their weight."""

    BLOCKER = "blocker"
    MAJOR = "major"
    MINOR = "minor"
    INFO = "info"


class Scope(StrEnum):
    """Whether a rule looks at the whole guest or at one workload."""

    GUEST = "guest"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rule looks at: ``service`` is None for rules about the guest, ``machine`` where no VM was given."""

    facts: Facts
    service: Service | None = None
    machine: Machine | None = None

    @property
    def workload(self) -> Service:
        """The service; only rules of scope SERVICE ask."""
        assert self.service is not None
        return self.service


@dataclass(frozen=True, slots=True)
class Hit:
    """One place where a rule applies: what was found, and where it was read."""

    detail: str
    evidence: tuple[Evidence, ...] = ()


Check = Callable[[Subject], Iterable[Hit]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: stable, "container.kernel-module": the targets it speaks about, then what.
        weight: what it takes off the score of 100 when it applies; 0 for blockers (they decide) and infos.
        assessment: one sentence: what it means for the workload.
        remedy: one sentence: what to do.
        check: the places where it applies; none, when it does not.
    """

    id: str
    target: Target
    scope: Scope
    category: Category
    weight: int
    assessment: str
    remedy: str
    check: Check


def hits(items: Iterable[tuple[str, Iterable[Evidence]]]) -> list[Hit]:
    """Hits from pairs of a detail and its evidence."""
    return [Hit(detail, tuple(evidence)) for detail, evidence in items]
