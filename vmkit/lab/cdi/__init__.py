"""CDI in the practice cluster: storage profiles, data volumes, data sources, import crons, uploads.

Pure parts (``capabilities``, ``profiles``, ``claims``, ``cloning``, ``transfers`` and ``phases``) decide;
the controllers beside them act on the store and hang every delay on the lab's clock. `register` serves the
types and their admission, `seed_objects` are those of a finished installation, `controllers` make it work.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmkit.lab.controller import Context, Controller
    from vmkit.lab.resources import Object, Registry

VERSION = "v1.66.0"


def register(registry: Registry) -> None:
    """Serves cdi.kubevirt.io and upload.cdi.kubevirt.io with their admission."""
    from vmkit.lab.cdi import admission, resources, uploads

    resources.register_types(registry)
    uploads.register_types(registry)
    registry.admit(
        registry.get(resources.GROUP, "datavolumes"),
        mutate=partial(admission.authorize_clone, registry),
        validate=partial(admission.validate_data_volume, registry),
    )
    registry.admit(registry.get(resources.GROUP, "datasources"), validate=admission.validate_data_source)
    registry.admit(registry.get(resources.GROUP, "dataimportcrons"), validate=admission.validate_cron)


def seed_objects() -> list[Object]:
    """The namespace, the CDI object and its configuration."""
    from vmkit.lab.cdi.resources import build_cdi_objects

    return build_cdi_objects(VERSION)


def controllers(context: Context) -> list[Controller]:
    """CDI's controllers, those first whose results the others read."""
    from vmkit.lab.cdi.crons import ImportCronController
    from vmkit.lab.cdi.datavolumes import DataVolumeController
    from vmkit.lab.cdi.storageprofiles import DataSourceController, StorageProfileController

    return [
        StorageProfileController(context),
        DataVolumeController(context),
        DataSourceController(context),
        ImportCronController(context),
    ]
