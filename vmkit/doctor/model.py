"""Findings, the kinds they are of, and the checks that come to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmkit.doctor.look import Look


class Severity(StrEnum):
    """How bad, from the mildest to the worst."""

    OK = "ok"
    """Looked at, and as it should be."""
    INFO = "info"
    """Good to know: something is not there, or not used."""
    UNKNOWN = "unknown"
    """It could not be looked at."""
    WARNING = "warning"
    """Something does not work as well as it could, or will stop working."""
    PROBLEM = "problem"
    """Something does not work, or does harm."""

    @property
    def rank(self) -> int:
        """Its place: 0 is the mildest."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing a check can find.

    Attributes:
        id: stable: "rook.too-full". What stands before the dot is the check.
        severity: how bad.
        meaning: what it says, in general; docs/doctor.md lists it.
        why: why it matters.
        mend: a command, YAML, or what to do; empty where nothing is to be done.
    """

    id: str
    severity: Severity
    meaning: str
    why: str = ""
    mend: str = ""

    def found(self, what: str, *, target: str = "", mend: str = "") -> Finding:
        """A finding of this kind; ``mend`` in place of the kind's own where it can name names."""
        return Finding(self, what, target, mend or self.mend)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        kind: which of the things it can find.
        what: what was found, with names.
        target: the object it is about: "CephCluster rook-ceph/rook-ceph"; empty for the cluster.
        mend: what to do.
    """

    kind: Kind
    what: str
    target: str = ""
    mend: str = ""

    @property
    def check(self) -> str:
        """The check's name."""
        return self.kind.id.partition(".")[0]

    @property
    def severity(self) -> Severity:
        """How bad."""
        return self.kind.severity

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the envelope."""
        return {
            "id": self.kind.id,
            "check": self.check,
            "severity": str(self.severity),
            "what": self.what,
            "why": self.kind.why,
            "mend": self.mend,
            "target": self.target,
        }


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at.

    Attributes:
        name: as ``--check`` takes it.
        summary: one line.
        kinds: all that it can find.
        run: looks, and yields findings.
    """

    name: str
    summary: str
    kinds: tuple[Kind, ...]
    run: Callable[[Look], Iterable[Finding]]

    @property
    def unknown(self) -> Kind:
        """What it finds where it may not look, or nobody answers."""
        return Kind(
            f"{self.name}.unknown",
            Severity.UNKNOWN,
            "Something could not be read: it is forbidden, or did not answer in time.",
            why="nothing is claimed about what nobody could look at",
            mend="mend what it names: a right that is missing, or a server that does not answer",
        )


@dataclass(frozen=True, slots=True)
class Examination:
    """What all checks found, the worst first.

    Attributes:
        findings: all of them.
        at: when.
    """

    findings: tuple[Finding, ...]
    at: datetime

    @property
    def worst(self) -> Severity:
        """The worst severity; OK where nothing was found."""
        return max((one.severity for one in self.findings), key=lambda one: one.rank, default=Severity.OK)
