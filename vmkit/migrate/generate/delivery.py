"""An Argo CD Application over the folder, once it stands in Git. Pure."""

from __future__ import annotations

from typing import Any


def build_application(
    name: str, repository: str, *, path: str = "", revision: str = "HEAD", namespace: str = "default"
) -> dict[str, Any]:
    """The Application; it prunes nothing and syncs only when somebody asks (argoproj.io/v1alpha1)."""
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": name, "namespace": "argocd", "labels": {"app.kubernetes.io/managed-by": "vmkit"}},
        "spec": {
            "project": "default",
            "source": {"repoURL": repository, "path": path or ".", "targetRevision": revision},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
            # The switch of a CronJob's suspension at cut-over is no drift.
            "ignoreDifferences": [{"group": "batch", "kind": "CronJob", "jsonPointers": ["/spec/suspend"]}],
            "syncPolicy": {"syncOptions": ["CreateNamespace=true", "RespectIgnoreDifferences=true"]},
        },
    }
