"""The group ``vmkit lab``; the modules beside this one add its commands."""

from __future__ import annotations

from vmkit.cli.options import group


@group("lab")
def lab() -> None:
    """Run a practice cluster on this machine.

    It speaks the API of Kubernetes, KubeVirt, CDI and Rook on 127.0.0.1, with a clock that can be moved. Every
    command of vmkit, and kubectl, work on it with the kubeconfig that "vmkit lab up" prints.
    """
