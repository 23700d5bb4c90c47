"""From facts to verdicts: one function that the command line, the reports and the exit code all ask. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vmkit.errors import ExitCode, UsageError
from vmkit.migrate.facts import Facts
from vmkit.migrate.machine import Machine
from vmkit.migrate.rules.catalogue import BY_ID, RULES
from vmkit.migrate.rules.model import Category, Hit, Rule, Scope, Subject, Target
from vmkit.migrate.services import Service, ServiceKind, build_services


class Fit(StrEnum):
    """The words of Google's fit assessment, best first."""

    EXCELLENT = "Excellent fit"
    GOOD = "Good fit with findings"
    MINIMAL = "Needs minimal work"
    MODERATE = "Needs moderate work"
    MAJOR = "Needs major work"
    NO_FIT = "No fit"
    INSUFFICIENT = "Insufficient data"


# The least score for a word. 100 less the weights of what was found; docs/migrate.md explains the numbers.
THRESHOLDS: Final = (
    (95, Fit.EXCELLENT),
    (80, Fit.GOOD),
    (65, Fit.MINIMAL),
    (45, Fit.MODERATE),
    (0, Fit.MAJOR),
)
_ORDER: Final = list(Fit)


class Recommendation(StrEnum):
    """What a workload should become."""

    WASM = "wasm"
    CONTAINER = "container"
    VM = "vm"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that applies, with the places; overridden ones are kept and count nothing."""

    rule: Rule
    hits: tuple[Hit, ...]
    overridden: bool = False

    @property
    def blocks(self) -> bool:
        return self.rule.category is Category.BLOCKER and not self.overridden

    @property
    def cost(self) -> int:
        return 0 if self.overridden else self.rule.weight


@dataclass(frozen=True, slots=True)
class TargetVerdict:
    """What one target would mean for a workload.

    Attributes:
        score: 0 to 100; 0 where something blocks.
        proven: "candidate" until a run has shown it, "" where it does not fit.
    """

    target: Target
    fit: Fit
    score: int
    findings: tuple[Finding, ...]
    proven: str = ""


@dataclass(frozen=True, slots=True)
class ServiceVerdict:
    """The judgement of one workload."""

    service: Service
    recommendation: Recommendation
    targets: tuple[TargetVerdict, ...]

    def target(self, target: Target) -> TargetVerdict:
        return next(one for one in self.targets if one.target is target)

    @property
    def best(self) -> TargetVerdict:
        """The target that is recommended; the container where nothing is."""
        wanted = Target.WASM if self.recommendation is Recommendation.WASM else Target.CONTAINER
        return self.target(wanted)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one guest.

    Attributes:
        fit: how well the whole guest can be left behind: that of its worst workload.
        reason: one sentence.
        guest_findings: what concerns the whole guest.
        overrides: the rules that were set aside.
    """

    fit: Fit
    reason: str
    guest_findings: tuple[Finding, ...]
    services: tuple[ServiceVerdict, ...]
    overrides: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """0 where it can move, 1 where it does not fit, 6 where too little is known."""
        if self.fit is Fit.INSUFFICIENT:
            return ExitCode.EVIDENCE
        return ExitCode.SOME_FAILED if self.fit is Fit.NO_FIT else ExitCode.OK


def check_overrides(overrides: Collection[str]) -> tuple[str, ...]:
    """The overrides, sorted.

    Raises:
        UsageError: one of them is no rule.
    """
    for name in overrides:
        if name not in BY_ID:
            raise UsageError(f"there is no rule {name!r}", hint="vmkit migrate rules lists them")
    return tuple(sorted(set(overrides)))


def worst_exit_code(verdicts: Iterable[Verdict]) -> ExitCode:
    """The exit code of a run over several guests: 1 if one does not fit, else 6 if one is not known, else 0."""
    codes = {one.exit_code for one in verdicts}
    return next((code for code in (ExitCode.SOME_FAILED, ExitCode.EVIDENCE) if code in codes), ExitCode.OK)


def word_for(score: int) -> Fit:
    """The word for a score of 0 to 100 where nothing blocks."""
    return next(fit for least, fit in THRESHOLDS if score >= least)


def decide_verdict(facts: Facts, *, machine: Machine | None = None, overrides: Collection[str] = ()) -> Verdict:
    """Judges a guest.

    Args:
        facts: the facts document; ``os`` is None where nothing could be read.
        machine: the VM it is, for what its specification asks.
        overrides: rules that are set aside; they stay in the verdict, marked.

    Raises:
        UsageError: an override is no rule.
    """
    set_aside = check_overrides(overrides)
    guest = _apply(Subject(facts, None, machine), Scope.GUEST, Target.CONTAINER, set_aside)
    blocking = [one for one in guest if one.blocks]
    services = tuple(_judge(Subject(facts, one, machine), guest, set_aside) for one in build_services(facts))
    fit, reason = _decide_fit(facts, blocking, services)
    return Verdict(fit, reason, guest, services, set_aside)


def _apply(subject: Subject, scope: Scope, target: Target, overrides: Sequence[str]) -> tuple[Finding, ...]:
    found: list[Finding] = []
    for rule in RULES:
        if rule.scope is scope and rule.target is target:
            places = tuple(rule.check(subject))
            if places:
                found.append(Finding(rule, places, rule.id in overrides))
    return tuple(found)


def _judge(subject: Subject, guest: tuple[Finding, ...], overrides: Sequence[str]) -> ServiceVerdict:
    own = _apply(subject, Scope.SERVICE, Target.CONTAINER, overrides)
    container = _target_verdict(Target.CONTAINER, (*guest, *own))
    # A component takes nothing of the guest with it: what stands in the way of a container concerns it only
    # through what its own code does, which the wasm rules look at.
    wasm = _target_verdict(Target.WASM, _apply(subject, Scope.SERVICE, Target.WASM, overrides))
    if wasm.fit is not Fit.NO_FIT:
        recommendation = Recommendation.WASM
    elif container.fit is not Fit.NO_FIT:
        recommendation = Recommendation.CONTAINER
    else:
        recommendation = Recommendation.VM
    return ServiceVerdict(subject.workload, recommendation, (container, wasm))


def _target_verdict(target: Target, findings: tuple[Finding, ...]) -> TargetVerdict:
    if any(one.blocks for one in findings):
        return TargetVerdict(target, Fit.NO_FIT, 0, findings)
    score = max(0, 100 - sum(one.cost for one in findings))
    return TargetVerdict(target, word_for(score), score, findings, "candidate")


def _decide_fit(facts: Facts, blocking: Sequence[Finding], services: Sequence[ServiceVerdict]) -> tuple[Fit, str]:
    if blocking:
        return Fit.NO_FIT, blocking[0].rule.assessment
    if facts.os is None:
        return Fit.INSUFFICIENT, "no root file system could be read"
    if not services:
        return Fit.INSUFFICIENT, "no workload was found on the disk; look at the running VM too"
    worst = max(services, key=lambda one: _ORDER.index(one.best.fit))
    standing = [one for one in services if one.service.kind is ServiceKind.SERVICE]
    jobs = len(services) - len(standing)
    counted = f"{len(standing)} service{'s' * (len(standing) != 1)} and {jobs} job{'s' * (jobs != 1)}"
    return worst.best.fit, f"{counted}; the hardest is {worst.service.name}"
