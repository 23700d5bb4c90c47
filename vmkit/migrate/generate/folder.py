"""One folder with everything: an image to build and objects to apply for each workload, and what is left to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vmkit.errors import Refused
from vmkit.migrate.facts import Facts
from vmkit.migrate.generate.image import PAYLOAD, plan_image, render_containerfile
from vmkit.migrate.generate.manifests import build_manifests, to_label
from vmkit.migrate.generate.payload import write_payload
from vmkit.migrate.rules.model import Target
from vmkit.migrate.tree.rooted import Tree
from vmkit.migrate.verdict import Fit, ServiceVerdict, Verdict
from vmkit.report.documents import render_yaml, render_yaml_documents


@dataclass(frozen=True, slots=True)
class Generated:
    """What was made of one workload; ``skipped`` says why nothing was."""

    service: str
    folder: str
    image: str = ""
    files: int = 0
    secrets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: str = ""


def write_artifacts(
    tree: Tree,
    facts: Facts,
    verdict: Verdict,
    target: Path,
    *,
    registry: str,
    storage_class: str | None = None,
    only: Sequence[str] = (),
) -> list[Generated]:
    """Writes a folder for each workload that fits a container, a kustomization over them, and a README.

    Args:
        target: a folder that is not there yet, or is empty.
        registry: what images' names begin with ("registry.example/old-web").
        only: the workloads wanted; all without.

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
        if only and judged.service.name not in only:
            continue
        name = to_label(judged.service.name)
        while name in names:  # two units may differ in what a label cannot say
            name = f"{name[:48]}-{len(names)}"
        names.add(name)
        found.append(
            _write_service(
                tree,
                facts,
                judged,
                target=target,
                name=name,
                registry=registry.rstrip("/"),
                storage_class=storage_class,
            )
        )
    made = [one for one in found if not one.skipped]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{one.folder}/manifests.yaml" for one in made],
    }
    (target / "kustomization.yaml").write_text(render_yaml(kustomization), encoding="utf-8")
    (target / "README.md").write_text(_render_readme(found), encoding="utf-8")
    return found


def _write_service(
    tree: Tree,
    facts: Facts,
    judged: ServiceVerdict,
    *,
    target: Path,
    name: str,
    registry: str,
    storage_class: str | None,
) -> Generated:
    service = judged.service
    container = judged.target(Target.CONTAINER)
    if container.fit is Fit.NO_FIT:
        blocking = next(one for one in container.findings if one.blocks)
        return Generated(service.name, name, skipped=f"{blocking.rule.assessment} [{blocking.rule.id}]")
    plan = plan_image(facts, service)
    if plan.problems:
        return Generated(service.name, name, skipped="; ".join(plan.problems))
    folder = target / name
    folder.mkdir()
    image = f"{registry}/{name}:latest"
    copied = write_payload(tree, plan, folder / PAYLOAD) if plan.folders or plan.files else []
    family = facts.os.family if facts.os else ""
    (folder / "Containerfile").write_text(render_containerfile(plan, family), encoding="utf-8")
    manifests, secret, notes = build_manifests(
        service, image=image, name=name, user=plan.user, storage_class=storage_class
    )
    (folder / "manifests.yaml").write_text(render_yaml_documents(manifests), encoding="utf-8")
    if secret is not None:
        (folder / "secret.yaml").write_text(render_yaml(secret), encoding="utf-8")
    notes += [f"left out of the image: {path}" for path in plan.left_out if _near(path, plan.folders)]
    notes += [
        f"to copy into its volume: {one.path} ({one.size_bytes} bytes)" for one in service.data if one.size_bytes
    ]
    return Generated(
        service.name,
        name,
        image,
        len(copied),
        tuple(secret["stringData"]) if secret else (),
        tuple(notes),
    )


def _near(path: str, folders: Sequence[str]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)


def _render_readme(found: Sequence[Generated]) -> str:
    lines = ["# Containers of the VM's workloads", "", "Nothing here has been run yet. In this order:", ""]
    for one in found:
        if one.skipped:
            continue
        lines.append(f"- `podman build -t {one.image} {one.folder}` and `podman push {one.image}`")
        if one.secrets:
            lines.append(
                f"  - fill in {', '.join(f'`{name}`' for name in one.secrets)} in `{one.folder}/secret.yaml`,"
                f" then `kubectl apply -f {one.folder}/secret.yaml`"
            )
        lines += [f"  - {note}" for note in one.notes]
    lines += ["- `kubectl apply -k .`", "", "CronJobs are suspended until the VM stops doing their work.", ""]
    skipped = [one for one in found if one.skipped]
    if skipped:
        lines += ["Stays in the VM:", ""]
        lines += [f"- {one.service}: {one.skipped}" for one in skipped]
        lines.append("")
    return "\n".join(lines)
