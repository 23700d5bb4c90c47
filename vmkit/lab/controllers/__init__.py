"""The controllers that Kubernetes itself brings, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmkit.lab.access.tokens import Tokens
    from vmkit.lab.controller import Context, Controller


def register_handlers(context: Context, tokens: Tokens) -> None:
    """Serves the subresources of built-in kinds that the store does not keep."""
    from vmkit.lab.controllers import accounts, namespaces, pods

    namespaces.register(context.registry)
    pods.register(context.registry)
    accounts.register(context.registry, tokens)


def build_controllers(context: Context, tokens: Tokens) -> list[Controller]:
    """All of them, those first whose results the others read."""
    from vmkit.lab.controllers.accounts import RootCertificateController, ServiceAccountController, TokenController
    from vmkit.lab.controllers.garbage import GarbageCollector
    from vmkit.lab.controllers.namespaces import NamespaceController

    return [
        NamespaceController(context),
        ServiceAccountController(context),
        RootCertificateController(context),
        TokenController(context, tokens),
        GarbageCollector(context),
    ]
