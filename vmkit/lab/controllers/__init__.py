"""The controllers that Kubernetes itself brings, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmkit.lab.access.tokens import Tokens
    from vmkit.lab.controller import Context, Controller


def register_handlers(context: Context, tokens: Tokens) -> None:
    """Serves the subresources of built-in kinds that the store does not keep."""
    from vmkit.lab.controllers import accounts, definitions, namespaces, pods

    namespaces.register(context.registry)
    pods.register(context.registry)
    accounts.register(context.registry, tokens)
    definitions.register(context.registry)


def build_controllers(context: Context, tokens: Tokens) -> list[Controller]:
    """All of them, those first whose results the others read."""
    from vmkit.lab.controllers.accounts import RootCertificateController, ServiceAccountController, TokenController
    from vmkit.lab.controllers.aggregation import AggregationController
    from vmkit.lab.controllers.definitions import DefinitionController
    from vmkit.lab.controllers.deployments import DeploymentController
    from vmkit.lab.controllers.garbage import GarbageCollector
    from vmkit.lab.controllers.jobs import CronJobController, JobController
    from vmkit.lab.controllers.kubelet import KubeletController
    from vmkit.lab.controllers.namespaces import NamespaceController
    from vmkit.lab.controllers.processes import build_runner
    from vmkit.lab.controllers.replicas import ReplicaSetController, StatefulSetController

    return [
        DefinitionController(context),
        NamespaceController(context),
        AggregationController(context),
        ServiceAccountController(context),
        RootCertificateController(context),
        TokenController(context, tokens),
        GarbageCollector(context),
        DeploymentController(context),
        ReplicaSetController(context),
        StatefulSetController(context),
        JobController(context),
        CronJobController(context),
        KubeletController(context, runner=build_runner(context, tokens)),
    ]
