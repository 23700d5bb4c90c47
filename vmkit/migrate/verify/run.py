"""One proof from end to end: what to ask, who is asked, what came of it. Everything that was started is ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vmkit.errors import EvidenceError, MissingTool, UsageError
from vmkit.migrate.generate.manifests import to_label
from vmkit.migrate.services import Service, build_services
from vmkit.migrate.source import open_source, read_facts
from vmkit.migrate.tree.rooted import Limits, Tree
from vmkit.migrate.verify.artifacts import Workload, read_artifacts
from vmkit.migrate.verify.component import ask_component
from vmkit.migrate.verify.container import ask_container
from vmkit.migrate.verify.discover import discover_requests, speaks_http
from vmkit.migrate.verify.exchange import SAFE_METHODS, Request
from vmkit.migrate.verify.machine import MachineOptions, ask_disk, ask_running
from vmkit.migrate.verify.proof import Measured, Outcome, Proof, Side, TargetProof, decide_proof
from vmkit.migrate.verify.tolerances import Tolerance

RUNNERS: Final = ("container", "wasm")


@dataclass(frozen=True, slots=True)
class Asked:
    """How a proof is made.

    Attributes:
        source, disks: the VM's disk, and its further ones; its files, and the VM itself where no URL is given.
        urls: the running VM: host, port and Host header by workload; "" for all.
        requests: what somebody wrote down or recorded; workloads that are among them are asked nothing else.
        tolerances: what may differ.
        runners: of "container" and "wasm".
        only: workloads; all without.
        machine: how the disk is booted.
        ready_seconds: how long the first answer of a container or component may take.
        follow_backing, declared_format, scratch: as with `open_source`.
    """

    source: Path | None = None
    disks: tuple[Path, ...] = ()
    urls: Mapping[str, tuple[str, int, str]] = field(default_factory=dict)
    requests: tuple[Request, ...] = ()
    tolerances: tuple[Tolerance, ...] = ()
    runners: tuple[str, ...] = RUNNERS
    only: tuple[str, ...] = ()
    machine: MachineOptions = field(default_factory=MachineOptions)
    ready_seconds: float = 120.0
    limits: Limits | None = None
    follow_backing: bool = False
    declared_format: str = ""
    scratch: Path | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """A proof, and the values of secrets that must not be shown with it."""

    proof: Proof
    secrets: tuple[str, ...]


def verify_artifacts(folder: Path, asked: Asked, *, tell: Callable[[str], None] = lambda _: None) -> Verified:
    """Runs what was generated and compares its answers with the VM's.

    Args:
        folder: what vmkit migrate generate wrote.
        tell: is told what happens, a line each.

    Raises:
        ManifestError: the folder or a file in it cannot be understood.
        UsageError: neither source nor URL, or names that are not there.
        EvidenceError: the source cannot be read.
        MissingTool: qemu is needed and not installed.
    """
    workloads = _choose(read_artifacts(folder), asked)
    if asked.source is None:
        if not asked.urls:
            raise UsageError(
                "there is nothing to compare with", hint="give the VM's disk with --source, or its --vm-url"
            )
        return _verify(workloads, {}, None, asked, tell)
    with open_source(
        asked.source,
        disks=asked.disks,
        limits=asked.limits,
        follow_backing=asked.follow_backing,
        declared_format=asked.declared_format,
        scratch=asked.scratch,
    ) as opened:
        facts = read_facts(opened)
        if opened.tree is None:
            raise EvidenceError("; ".join(facts.notes), where=str(asked.source))
        services = {to_label(one.name): one for one in build_services(facts)}
        return _verify(workloads, services, opened.tree, asked, tell)


def _choose(workloads: Sequence[Workload], asked: Asked) -> list[Workload]:
    known = {one.name for one in workloads}
    for what, names in (("--service", asked.only), ("the requests", {one.service for one in asked.requests})):
        for name in names:
            if name not in known:
                raise UsageError(
                    f"{what} names {name!r}, and there are no artifacts of it",
                    hint=f"there are {', '.join(sorted(known))}",
                )
    for name in asked.urls:
        if name and name not in known:
            raise UsageError(f"--vm-url names {name!r}, and there are no artifacts of it",
                             hint=f"there are {', '.join(sorted(known))}")  # fmt: skip
    return [one for one in workloads if not asked.only or one.name in asked.only]


def _verify(
    workloads: Sequence[Workload],
    services: Mapping[str, Service],
    tree: Tree | None,
    asked: Asked,
    tell: Callable[[str], None],
) -> Verified:
    requests = {one.name: _requests(one, services.get(one.name), tree, asked) for one in workloads}
    ports = {one.name: port for one in workloads if (port := _port(one, services.get(one.name))) is not None}
    secrets = tuple(
        {value for one in workloads if one.container is not None for _, value in one.container.secrets if value}
    )
    wanted = {name: rows for name, rows in requests.items() if rows}
    machine, vm = _ask_machine(wanted, ports, asked, tell)
    targets: list[TargetProof] = []
    for one in workloads:
        rows = requests[one.name]
        expected = vm.get(one.name, Side(problem="it was not asked"))
        for target in asked.runners:
            if target == "wasm" and one.unbuilt:
                why = f"its component is not built: vmkit migrate build {one.folder}"
                targets.append(TargetProof(one.name, target, Outcome.NOT_PROVEN, why))
                continue
            if (one.container if target == "container" else one.component) is None:
                continue
            reason = _hopeless(one, services.get(one.name), rows)
            if reason:
                targets.append(TargetProof(one.name, target, Outcome.NOT_PROVEN, reason))
                continue
            tell(f"{one.name}: asking its {'component' if target == 'wasm' else target} ({len(rows)} requests)")
            side = _ask_target(one, target, requests=rows, port=ports.get(one.name), tree=tree, asked=asked)
            targets.append(
                decide_proof(one.name, target, requests=rows, vm=expected, other=side, tolerances=asked.tolerances)
            )
    measured = {name: side.measured for name, side in vm.items() if side.measured != Measured()}
    return Verified(Proof(machine, tuple(targets), measured), secrets)


def _requests(workload: Workload, service: Service | None, tree: Tree | None, asked: Asked) -> list[Request]:
    given = [one for one in asked.requests if one.service == workload.name]
    if given:
        return given
    if service is not None and tree is not None:
        found = [
            Request(workload.name, one.method, one.path, one.headers, one.body, one.origin)
            for one in discover_requests(tree, service)
        ]
    elif workload.job or _port(workload, service) is None:
        found = []
    else:
        found = [Request(workload.name)]
    return [one for one in found if one.method in SAFE_METHODS]


def _port(workload: Workload, service: Service | None) -> int | None:
    ports = [one.port for one in service.listeners if one.http and one.port] if service else []
    ports += list(service.ports) if service else []
    ports += list(workload.container.ports) if workload.container else []
    return ports[0] if ports else 80 if workload.component else None


def _hopeless(workload: Workload, service: Service | None, requests: Sequence[Request]) -> str:
    """Why there is no sense in running it."""
    if workload.job:
        return "it runs at times and answers nothing: look at what one run of its CronJob does"
    if not requests and service is not None and not speaks_http(service):
        return "it is not known to speak HTTP: give requests with --requests, or try it with its own client"
    return ""


def _ask_machine(
    requests: Mapping[str, Sequence[Request]], ports: Mapping[str, int], asked: Asked, tell: Callable[[str], None]
) -> tuple[str, dict[str, Side]]:
    if not requests:
        return "not asked", {}
    if asked.urls:
        tell("asking the running VM")
        return "running", ask_running(asked.urls, requests)
    assert asked.source is not None
    if asked.source.is_dir():
        problem = "a folder cannot be booted: give the VM's disk image, or its --vm-url"
        return "not asked", {name: Side(problem=problem) for name in requests}
    tell("booting an overlay of the VM's disk (emulated, this takes about half a minute)")
    formats = [asked.declared_format] * (1 + len(asked.disks)) if asked.declared_format else []
    try:
        sides = ask_disk([asked.source, *asked.disks], ports, requests, asked.machine, formats=formats)
    except MissingTool as error:
        return "not asked", {name: Side(problem=f"{error.message}; {error.hint}") for name in requests}
    how = next((side.measured.how for side in sides.values() if side.measured.how), "not asked")
    return how, sides


def _ask_target(
    workload: Workload,
    target: str,
    *,
    requests: Sequence[Request],
    port: int | None,
    tree: Tree | None,
    asked: Asked,
) -> Side:
    try:
        if target == "wasm":
            assert workload.component is not None
            return ask_component(
                workload.component,
                requests,
                port=port or 80,
                ready_seconds=asked.ready_seconds,
                scratch=asked.scratch,
            )
        assert workload.container is not None
        if port is None:
            return Side(problem="no port is known that it listens on")
        return ask_container(
            workload.container,
            workload.folder,
            port,
            requests,
            tree=tree,
            ready_seconds=asked.ready_seconds,
            scratch=asked.scratch,
        )
    except MissingTool as error:
        return Side(problem=f"{error.message}; {error.hint}")
