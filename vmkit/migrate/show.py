"""Facts and verdicts as text for a terminal. Strings out, nothing printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from vmkit.migrate.assessment import Assessed, plan_waves, recommended, sum_returned
from vmkit.migrate.facts import Facts
from vmkit.migrate.rules.model import Rule, Target
from vmkit.migrate.services import Service, build_services
from vmkit.migrate.verdict import Finding, ServiceVerdict
from vmkit.report.table import Column, render_table
from vmkit.report.text import escape_text
from vmkit.units import format_size

_SHOWN: Final = 12
_PLACES: Final = 4


def render_facts(facts: Facts) -> str:
    """A guest at a glance: what it is, its disks, and its workloads; the document has the rest."""
    return "\n".join(_facts_lines(facts)) + "\n"


def _facts_lines(facts: Facts) -> Iterator[str]:
    system = facts.os
    if system is None:
        yield "System        unknown: no root file system could be read"
    else:
        name = system.name or system.id or system.family
        yield f"System        {escape_text(' '.join(one for one in (name, system.architecture) if one))}"
        if system.hostname:
            yield f"Hostname      {escape_text(system.hostname)}"
        yield f"Packages      {len(facts.packages.items)} ({facts.packages.manager or facts.packages.problem})"
    if facts.source.volumes:
        yield ""
        yield render_table(
            (
                Column("VOLUME", lambda one: one.name),
                Column("SIZE", lambda one: format_size(one.size_bytes)),
                Column("HOLDS", lambda one: one.filesystem),
                Column("MOUNTED", lambda one: one.mount_point),
                Column("REMARK", lambda one: one.problem or "; ".join(one.notes)),
            ),
            facts.source.volumes,
        ).rstrip("\n")
    services = build_services(facts)
    if services:
        yield ""
        yield render_table(
            (
                Column("WORKLOAD", lambda one: one.name),
                Column("KIND", lambda one: str(one.kind)),
                Column("RUNS", _runs),
                Column("USER", lambda one: one.user),
                Column("PORTS", lambda one: ", ".join(map(str, one.ports))),
                Column("STATE", _state),
            ),
            services,
        ).rstrip("\n")
    for title, texts in (
        ("Secrets", [f"{one.name} ({one.evidence[0]})" for one in facts.secrets if one.evidence]),
        ("Kernel", [f"{one.kind}: {one.name}" for one in facts.kernel_needs]),
        ("Engines", [one.name for one in facts.engines]),
        ("Network", [f"{one.kind}: {one.name}" for one in facts.network_needs]),
        ("Licences", [one.name for one in facts.licences]),
        ("Files of no package", [one.path for one in facts.unowned_files]),
        ("Changed configuration", [one.path for one in facts.changed_configuration]),
        ("Notes", facts.notes),
    ):
        if texts:
            yield ""
            yield f"{title} ({len(texts)})"
            yield from (f"  {escape_text(text)}" for text in texts[:_SHOWN])
            if len(texts) > _SHOWN:
                yield f"  and {len(texts) - _SHOWN} more; -o json lists them all"


def _runs(service: Service) -> str:
    if service.cron is not None:
        return service.cron.command[:60]
    runtime = service.runtime
    if runtime is None:
        return ""
    kind = runtime.framework or runtime.application
    what = runtime.program.rsplit("/", 1)[-1] or runtime.language
    return f"{what} ({kind})" if kind else what


def _state(service: Service) -> str:
    return ", ".join(f"{one.path} ({format_size(one.size_bytes)})" for one in service.data)


def render_assessment(assessed: Assessed, *, findings: bool = True) -> str:
    """One guest's verdict: the word, a table of its workloads, and (unless told otherwise) every finding."""
    return "\n".join(_assessment_lines(assessed, findings)) + "\n"


def _assessment_lines(assessed: Assessed, with_findings: bool) -> Iterator[str]:
    verdict = assessed.verdict
    yield f"{escape_text(assessed.name)}: {verdict.fit} ({verdict.reason})"
    if verdict.overrides:
        yield f"Set aside: {', '.join(verdict.overrides)}"
    if verdict.services:
        yield ""
        yield render_table(
            (
                Column("WORKLOAD", lambda one: one.service.name),
                Column("KIND", lambda one: str(one.service.kind)),
                Column("BECOMES", lambda one: str(one.recommendation)),
                Column("CONTAINER", lambda one: _word(one, Target.CONTAINER)),
                Column("WASM", lambda one: _word(one, Target.WASM)),
            ),
            verdict.services,
        ).rstrip("\n")
    if not with_findings:
        return
    if verdict.guest_findings:
        yield ""
        yield "The guest"
        yield from _finding_lines(verdict.guest_findings)
    for service in verdict.services:
        for target in service.targets:
            findings = [one for one in target.findings if one.rule.scope == "service"]
            if findings:
                yield ""
                yield f"{escape_text(service.service.name)} as {target.target}"
                yield from _finding_lines(findings)
    if assessed.facts.notes:
        yield ""
        yield "Notes"
        yield from (f"  {escape_text(text)}" for text in assessed.facts.notes[:_SHOWN])


def _word(verdict: ServiceVerdict, target: Target) -> str:
    found = verdict.target(target)
    proven = f", {found.proven}" if found.proven and (target is Target.WASM or found.proven != "candidate") else ""
    return f"{found.fit} ({found.score}{proven})" if found.score else str(found.fit)


def _finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    for one in findings:
        aside = ", set aside" if one.overridden else ""
        cost = f" -{one.rule.weight}" if one.rule.weight else ""
        yield f"  {one.rule.category}{cost}{aside}  {one.rule.assessment}  [{one.rule.id}]"
        for hit in one.hits[:_PLACES]:
            place = f"  ({hit.evidence[0]})" if hit.evidence and str(hit.evidence[0]) != hit.detail else ""
            yield f"      {escape_text(hit.detail)}{escape_text(place)}"
        if len(one.hits) > _PLACES:
            yield f"      and {len(one.hits) - _PLACES} more places"
        yield f"    → {one.rule.remedy}"


def render_fleet(fleet: Sequence[Assessed], *, wide: bool = False) -> str:
    """A fleet in the order in which to move it, and what each wave gives back."""
    ordered = plan_waves(fleet)
    table = render_table(
        (
            Column("NAME", lambda one: one.name),
            Column("WAVE", lambda one: str(one.wave or "-")),
            Column("FIT", lambda one: str(one.verdict.fit)),
            Column("WORKLOADS", lambda one: recommended(one.verdict)),
            Column("VCPUS", lambda one: str(one.machine.vcpus or "") if one.machine else "", wide=True),
            Column(
                "MEMORY",
                lambda one: (
                    format_size(one.machine.memory_bytes) if one.machine and one.machine.memory_bytes else ""
                ),
                wide=True,
            ),
            Column("WHY", lambda one: one.verdict.reason),
        ),
        ordered,
        wide=wide,
    )
    lines = [table.rstrip("\n")]
    for number in (1, 2, 3):
        returned = sum_returned(one for one in ordered if one.wave == number)
        if returned.vms:
            size = f"{returned.vcpus} vCPUs, {format_size(returned.memory_bytes)}"
            unknown = f" and {returned.unknown} of unknown size" if returned.unknown else ""
            lines.append(f"Wave {number}: {returned.vms} VMs give back {size}{unknown}")
    return "\n".join(lines) + "\n"


def render_rules(rules: Sequence[Rule], *, wide: bool = False) -> str:
    """The rules as a table; wide ones with their remedies."""
    return render_table(
        (
            Column("RULE", lambda one: one.id),
            Column("CATEGORY", lambda one: str(one.category)),
            Column("WEIGHT", lambda one: str(one.weight)),
            Column("ABOUT", lambda one: str(one.scope)),
            Column("MEANS", lambda one: one.assessment),
            Column("REMEDY", lambda one: one.remedy, wide=True),
        ),
        rules,
        wide=wide,
    )
