"""KubeVirt in the practice cluster: admission, controllers, guests and the power subresources.

`install` adds all of it to a lab; the modules that decide (``power``, ``printable``, ``liveupdate``,
``admission``, ``instancetypes``) are pure and usable alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmkit.lab.controller import Context
    from vmkit.lab.kubevirt.plugin import KubeVirt

__all__ = ["install"]


def install(context: Context) -> KubeVirt:
    """Adds KubeVirt's types, webhooks and calls to a lab's registry.

    The built-in types must be in the registry already. The lab starts the result's ``controllers`` and creates its
    ``seed_objects``. The option "kubevirt" of the context names the release ("1.9").
    """
    from vmkit.lab.kubevirt.plugin import KubeVirt

    return KubeVirt(context)
