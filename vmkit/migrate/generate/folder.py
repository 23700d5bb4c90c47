"""One folder with everything: an image to build and objects to apply for each workload, and what is left to do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from vmkit.errors import Refused
from vmkit.migrate.facts import Facts
from vmkit.migrate.generate.component import find_obstacle, write_component_sources
from vmkit.migrate.generate.cutover import build_cutover, render_cutover
from vmkit.migrate.generate.data import build_data_copies
from vmkit.migrate.generate.delivery import build_application
from vmkit.migrate.generate.image import PAYLOAD, ImageKind, ImagePlan, plan_image, render_containerfile
from vmkit.migrate.generate.manifests import Manifest, build_manifests, build_vm_service, to_label
from vmkit.migrate.generate.payload import write_payload
from vmkit.migrate.oci.frozen import write_frozen
from vmkit.migrate.oci.layout import ImageConfig
from vmkit.migrate.rules.model import Target
from vmkit.migrate.services import Service
from vmkit.migrate.tree.rooted import Tree
from vmkit.migrate.verdict import Fit, ServiceVerdict, Verdict
from vmkit.migrate.wasm.spin import (
    RUNTIME_CLASS,
    Scaling,
    SpinApp,
    build_runtime_class,
    build_service,
    build_spin_objects,
    build_wasmcloud_objects,
    render_spin_toml,
)
from vmkit.report.documents import render_yaml, render_yaml_documents

IMAGE: Final = "image"
WASM: Final = "wasm"
SERVICE: Final = "service-of-vm.yaml"


@dataclass(frozen=True, slots=True)
class Options:
    """How artifacts are written.

    Attributes:
        registry: what images' names begin with ("registry.example/old-web").
        storage_class: of volumes; None takes the cluster's default.
        image: whether images are rebuilt on a base, or the guest's root as it is.
        only: the workloads wanted; all without.
        vm: the VM's name, for the plan of the cut-over.
        claim: the claim of the VM's disk, for what copies its data; "" leaves that out.
        scaling, max_replicas: how many pods of a component answer.
        runtime_class: that components run under.
        handler: its containerd handler; "" leaves the RuntimeClass to the cluster.
        wasmcloud: also write components for wasmCloud.
        repository, path, revision: where the folder will stand in Git, for an Argo CD Application; "" for none.
    """

    registry: str
    storage_class: str | None = None
    image: ImageKind = ImageKind.REBUILD
    only: Sequence[str] = ()
    vm: str = ""
    claim: str = ""
    scaling: Scaling = Scaling.CPU
    max_replicas: int = 10
    runtime_class: str = RUNTIME_CLASS
    handler: str = ""
    wasmcloud: bool = False
    repository: str = ""
    path: str = ""
    revision: str = "HEAD"


@dataclass(frozen=True, slots=True)
class Generated:
    """What was made of one workload; ``skipped`` says why nothing was.

    Attributes:
        workload: what it was made of.
        folder: below the target.
        image: the container's name in the registry; ``component`` the component's, or "".
        files: how many files of the application are in the image.
        wasm_skipped: why there is no component.
    """

    workload: Service
    folder: str
    image: str = ""
    component: str = ""
    files: int = 0
    secrets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: str = ""
    wasm_skipped: str = ""
    frozen: bool = False

    @property
    def service(self) -> str:
        return self.workload.name


def write_artifacts(tree: Tree, facts: Facts, verdict: Verdict, target: Path, options: Options) -> list[Generated]:
    """Writes a folder for each workload that fits, a kustomization over them, a plan of the cut-over, a README.

    Args:
        target: a folder that is not there yet, or is empty.

    Raises:
        Refused: the folder holds something.
        EvidenceError: the guest's files cannot be read.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Refused(
            "it is there already", hint="give a folder that is empty or not there yet", where=str(target)
        )
    target.mkdir(parents=True, exist_ok=True)
    names: set[str] = set()
    found: list[Generated] = []
    for judged in verdict.services:
        if options.only and judged.service.name not in options.only:
            continue
        name = to_label(judged.service.name)
        while name in names:  # two units may differ in what a label cannot say
            name = f"{name[:48]}-{len(names)}"
        names.add(name)
        found.append(_write_service(tree, facts, judged, target=target, name=name, options=options))
    made = [one for one in found if not one.skipped]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{one.folder}/manifests.yaml" for one in made if one.image],
    }
    (target / "kustomization.yaml").write_text(render_yaml(kustomization), encoding="utf-8")
    if options.repository:
        application = build_application(
            to_label(options.vm or "migrated"), options.repository, path=options.path, revision=options.revision
        )
        (target / "argocd-application.yaml").write_text(render_yaml(application), encoding="utf-8")
    switched = build_vm_service(options.vm, [one.workload for one in made if one.image]) if options.vm else None
    if switched is not None:
        (target / SERVICE).write_text(render_yaml(switched), encoding="utf-8")
    plan = build_cutover(
        [(one.folder, one.workload) for one in made if one.image],
        vm=options.vm,
        service=SERVICE if switched is not None else "",
        copied=bool(options.claim),
    )
    (target / "cutover.json").write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
    (target / "CUTOVER.md").write_text(render_cutover(plan), encoding="utf-8")
    (target / "README.md").write_text(_render_readme(found), encoding="utf-8")
    return found


def _write_service(
    tree: Tree, facts: Facts, judged: ServiceVerdict, *, target: Path, name: str, options: Options
) -> Generated:
    service = judged.service
    plan = plan_image(facts, service, kind=options.image)
    container = judged.target(Target.CONTAINER)
    skipped = ""
    if container.fit is Fit.NO_FIT:
        blocking = next(one for one in container.findings if one.blocks)
        skipped = f"{blocking.rule.assessment} [{blocking.rule.id}]"
    elif plan.problems:
        skipped = "; ".join(plan.problems)
    wasm = judged.target(Target.WASM)
    obstacle = find_obstacle(service) if wasm.fit is not Fit.NO_FIT else ""
    with_component = wasm.fit is not Fit.NO_FIT and not obstacle
    if skipped and not with_component:
        return Generated(service, name, skipped=skipped)
    folder = target / name
    folder.mkdir()
    made = Generated(service, name)
    if skipped:
        made = replace(made, notes=(f"no container: {skipped}",))
    else:
        made = _write_container(tree, facts, plan, folder=folder, made=made, options=options)
    if with_component:
        return _write_component(tree, facts, folder=folder, made=made, options=options)
    if obstacle:
        return replace(made, wasm_skipped=obstacle, notes=(*made.notes, f"no component: {obstacle}"))
    blocking = next(one for one in wasm.findings if one.blocks)
    return replace(made, wasm_skipped=f"{blocking.rule.assessment} [{blocking.rule.id}]")


def _write_container(
    tree: Tree, facts: Facts, plan: ImagePlan, *, folder: Path, made: Generated, options: Options
) -> Generated:
    service = made.workload
    name = made.folder
    image = f"{options.registry.rstrip('/')}/{name}:latest"
    family = facts.os.family if facts.os else ""
    if options.image is ImageKind.FROZEN:
        config = ImageConfig(
            command=plan.command,
            user=plan.user,
            working_directory=plan.working_directory,
            stop_signal=plan.stop_signal,
            ports=plan.ports,
            environment={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            machine=facts.os.architecture if facts.os and facts.os.architecture else "x86_64",
        )
        state = [one.path for one in facts.data_directories]
        frozen = write_frozen(
            tree, folder / IMAGE, config, secrets=set(plan.left_out) - set(state), state=state, reference=image
        )
        count = frozen.entries
        extra = [f"left out of the image: {path}" for path in frozen.withheld]
    else:
        count = len(write_payload(tree, plan, folder / PAYLOAD)) if plan.folders or plan.files else 0
        (folder / "Containerfile").write_text(render_containerfile(plan, family), encoding="utf-8")
        extra = [f"left out of the image: {path}" for path in plan.left_out if _near(path, plan.folders)]
    manifests, secret, notes = build_manifests(
        service, image=image, name=name, user=plan.user, storage_class=options.storage_class, vm=options.vm
    )
    (folder / "manifests.yaml").write_text(render_yaml_documents(manifests), encoding="utf-8")
    if secret is not None:
        (folder / "secret.yaml").write_text(render_yaml(secret), encoding="utf-8")
    notes += extra
    notes += [
        f"to copy into its volume: {one.path} ({one.size_bytes} bytes)" for one in service.data if one.size_bytes
    ]
    copies: list[Manifest] = []
    if options.claim:
        disk_bytes = max((one.size_bytes for one in facts.source.disks), default=0)
        copies = build_data_copies(
            service, name=name, claim=options.claim, disk_bytes=disk_bytes, storage_class=options.storage_class
        )
    if copies:
        (folder / "data-copy.yaml").write_text(render_yaml_documents(copies), encoding="utf-8")
    return replace(
        made,
        image=image,
        files=count,
        frozen=options.image is ImageKind.FROZEN,
        secrets=tuple(secret["stringData"]) if secret else (),
        notes=(*made.notes, *notes),
    )


def _write_component(tree: Tree, facts: Facts, *, folder: Path, made: Generated, options: Options) -> Generated:
    service = made.workload
    target = folder / WASM
    recipe, notes = write_component_sources(tree, facts, service, target)
    name = made.folder
    image = f"{options.registry.rstrip('/')}/{name}-wasm:latest"
    app = SpinApp(
        name=f"{name}-wasm",
        service=name,
        image=image,
        ports=service.ports,
        environment=recipe.environment,
        secrets=recipe.secrets,
        description=f"{service.name}, out of a VM",
        scaling=options.scaling,
        max_replicas=options.max_replicas,
        runtime_class=options.runtime_class,
    )
    (target / "spin.toml").write_text(render_spin_toml(app), encoding="utf-8")
    (target / "spinapp.yaml").write_text(render_yaml_documents(build_spin_objects(app)), encoding="utf-8")
    (target / "service.yaml").write_text(render_yaml(build_service(app)), encoding="utf-8")
    if options.handler:
        runtime = build_runtime_class(options.runtime_class, options.handler)
        (target / "runtimeclass.yaml").write_text(render_yaml(runtime), encoding="utf-8")
    if options.wasmcloud:
        (target / "wasmcloud.yaml").write_text(
            render_yaml_documents(build_wasmcloud_objects(app)), encoding="utf-8"
        )
    if recipe.secrets and not made.image:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "type": "Opaque",
            "stringData": dict.fromkeys(recipe.secrets, ""),
        }
        (folder / "secret.yaml").write_text(render_yaml(secret), encoding="utf-8")
    return replace(made, component=image, secrets=made.secrets or recipe.secrets, notes=(*made.notes, *notes))


def _near(path: str, folders: Sequence[str]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)


def _render_readme(found: Sequence[Generated]) -> str:
    lines = ["# What the VM's workloads become", "", "Nothing here has been run yet. In this order:", ""]
    for one in found:
        if one.skipped:
            continue
        if one.frozen:
            lines.append(f"- `vmkit migrate push {one.folder}/{IMAGE} {one.image}`")
        elif one.image:
            lines.append(f"- `podman build -t {one.image} {one.folder}` and `podman push {one.image}`")
        if one.component:
            lines.append(
                f"- or, as a component: `vmkit migrate build {one.folder}/{WASM}`, then"
                f" `vmkit migrate push {one.folder}/{WASM} {one.component}` and"
                f" `kubectl apply -f {one.folder}/{WASM}/spinapp.yaml`"
            )
        if one.secrets:
            lines.append(
                f"  - fill in {', '.join(f'`{name}`' for name in one.secrets)} in `{one.folder}/secret.yaml`,"
                f" then `kubectl apply -f {one.folder}/secret.yaml`"
            )
        lines += [f"  - {note}" for note in one.notes]
    lines += [
        "- `kubectl apply -k .`",
        "",
        "CronJobs are suspended until the VM stops doing their work. CUTOVER.md says how to switch.",
        "",
    ]
    skipped = [one for one in found if one.skipped]
    if skipped:
        lines += ["Stays in the VM:", ""]
        lines += [f"- {one.service}: {one.skipped}" for one in skipped]
        lines.append("")
    return "\n".join(lines)
