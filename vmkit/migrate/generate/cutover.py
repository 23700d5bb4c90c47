"""The plan of the cut-over: steps in order, for people and for programs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from vmkit.migrate.services import Service, ServiceKind

SCHEMA_VERSION: Final = 1
KIND: Final = "CutoverPlan"
KEEP_DAYS: Final = 14


def build_cutover(
    workloads: Sequence[tuple[str, Service]],
    *,
    vm: str = "",
    service: str = "",
    copied: bool = True,
    keep_days: int = KEEP_DAYS,
) -> dict[str, Any]:
    """The plan.

    Args:
        workloads: (folder, workload).
        vm: the VM's name; "VM" stands for it where it is not known.
        service: the file with the Service of the VM's name; "" where there is none.
        copied: whether there are Jobs that copy its data.
        keep_days: how long the stopped VM is kept.

    Returns:
        A document with ``steps``; each has an id, a title, commands, how to go back, and whether it interrupts
        service.
    """
    vm = vm or "VM"
    services = [(folder, one) for folder, one in workloads if one.kind is ServiceKind.SERVICE]
    jobs = [folder for folder, one in workloads if one.kind is ServiceKind.JOB]
    stateful = [(folder, one) for folder, one in services if one.data]
    steps = [
        _step("deploy", "Deploy beside the VM", ["kubectl apply -k ."], ["kubectl delete -k ."]),
    ]
    if stateful and copied:
        steps.append(
            _step(
                "copy-for-proof",
                "Copy the state from a snapshot, for the proof",
                [f"kubectl apply -f {folder}/data-copy.yaml" for folder, _ in stateful],
                [f"kubectl delete -f {folder}/data-copy.yaml" for folder, _ in stateful],
            )
        )
    steps.append(_step("prove", "Compare its answers with the VM's", ["vmkit migrate verify ."], []))
    if stateful:
        units = " ".join(one.unit.name for _, one in stateful if one.unit)
        steps += [
            _step(
                "stop-writing",
                "Stop the services in the VM that write",
                [f"ssh {vm} sudo systemctl stop {units}"],
                [f"ssh {vm} sudo systemctl start {units}"],
                interrupts=True,
            ),
            _step(
                "copy-for-good",
                "Copy what was written since",
                ["# copy the directories that README.md names into the new volumes"]
                if not copied
                else [
                    f"kubectl replace --force -f {folder}/data-copy.yaml && kubectl wait"
                    f" --for=condition=complete job -l app.kubernetes.io/name={folder} --timeout=1h"
                    for folder, _ in stateful
                ],
                [],
                interrupts=True,
            ),
        ]
    resume, suspend = _suspended("false"), _suspended("true")
    if service:
        # Everything on one line: nothing is switched where what there was could not be kept.
        switch = [
            f"kubectl get service {vm} --ignore-not-found -o yaml >before.yaml && kubectl apply -f {service}"
        ]
        back = [
            "if [ -s before.yaml ]; then kubectl replace --force -f before.yaml; else"
            f" kubectl delete -f {service}; fi"
        ]
    else:
        switch = [
            f"# let clients of {vm} use the Services {', '.join(folder for folder, _ in services) or '(none)'}"
        ]
        back = [f"# let clients use {vm} again"]
    steps.append(
        _step("switch", "Let the VM's name lead to the new pods", switch, back, interrupts=bool(stateful))
    )
    if jobs:
        steps.append(
            _step(
                "resume-jobs",
                "Stop the VM's timers and cron lines, and let the CronJobs run",
                [f"kubectl patch cronjob {name} --type=merge -p '{resume}'" for name in jobs],
                [f"kubectl patch cronjob {name} --type=merge -p '{suspend}'" for name in jobs],
            )
        )
    steps += [
        _step(
            "stop-vm",
            f"Stop the VM, and keep it for {keep_days} days",
            [f"vmkit stop {vm}"],
            [f"vmkit start {vm}"],
        ),
        _step(
            "remove-vm",
            f"After {keep_days} days without going back: remove the VM; its disks stay",
            [f"vmkit delete {vm}"],
            [],
        ),
    ]
    return {"kind": KIND, "schemaVersion": SCHEMA_VERSION, "vm": vm, "keepDays": keep_days, "steps": steps}


def _suspended(value: str) -> str:
    return f'{{"spec":{{"suspend":{value}}}}}'


def _step(
    name: str, title: str, commands: Sequence[str], back: Sequence[str], *, interrupts: bool = False
) -> dict[str, Any]:
    return {"id": name, "title": title, "commands": list(commands), "back": list(back), "interrupts": interrupts}


def render_cutover(plan: dict[str, Any]) -> str:
    """The plan as Markdown."""
    lines = [f"# Cut-over of {plan['vm']}", ""]
    for number, step in enumerate(plan["steps"], 1):
        lines += [f"## {number}. {step['title']}", ""]
        if step["interrupts"]:
            lines += ["The service does not answer, or does not write, while this is done.", ""]
        lines += ["```sh", *step["commands"], "```", ""] if step["commands"] else []
        if step["back"]:
            lines += ["Back:", "", "```sh", *step["back"], "```", ""]
    lines += ["What is written after the switch is in the new volumes alone: going back loses it.", ""]
    return "\n".join(lines)
