"""Endpoints that parts of the lab add to its control: guests, metrics and the like, where they bring any."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmkit.lab.assembly import World
    from vmkit.lab.control import Control


def add_endpoints(control: Control, world: World) -> None:
    """Lets every part of a lab that has ``add_endpoints(control)`` add its own."""
    for part in world.parts.values():
        add = getattr(part, "add_endpoints", None)
        if add is not None:
            add(control)
