"""Walking through objects whose parts may be missing or of another type: such parts are empty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def as_mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """The value if it is a text, else an empty one."""
    return value if isinstance(value, str) else ""


def dig(value: Any, *path: str) -> Any:
    """What stands at ``path`` of nested mappings; None where something on the way is missing."""
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def vm_spec(vm: Mapping[str, Any]) -> Mapping[str, Any]:
    """A VirtualMachine's ``spec.template.spec``."""
    return as_mapping(dig(vm, "spec", "template", "spec"))


def data_volume_names(vm: Mapping[str, Any]) -> Iterator[str]:
    """The DataVolumes and claims a VirtualMachine's volumes name."""
    for volume in as_list(vm_spec(vm).get("volumes")):
        for kind, key in (("dataVolume", "name"), ("persistentVolumeClaim", "claimName")):
            name = dig(volume, kind, key)
            if isinstance(name, str) and name:
                yield name
