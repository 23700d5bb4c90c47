"""SpinKube in the practice cluster: SpinApps with the Deployment and Service that the Spin Operator makes of
them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmkit.lab.controller import Context, Controller
    from vmkit.lab.resources import Object, Registry


def register(registry: Registry) -> None:
    """Serves core.spinkube.dev and runtime.spinkube.dev with their admission."""
    from vmkit.lab.spinkube import apps

    apps.register_types(registry)
    registry.admit(
        registry.get(*apps.APPS),
        mutate=partial(apps.default_app, registry),
        validate=partial(apps.validate_app, registry),
    )


def seed_objects() -> list[Object]:
    """The executor, the runtime class and the shim of a finished installation."""
    from vmkit.lab.spinkube.apps import build_spinkube_objects

    return build_spinkube_objects()


def controllers(context: Context) -> list[Controller]:
    """The Spin Operator."""
    from vmkit.lab.spinkube.apps import SpinAppController

    return [SpinAppController(context)]
