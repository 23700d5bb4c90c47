"""cloud-init documents: written from a structure, moved to a Secret where they are too long or hold a secret."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vmkit.provision.walk import as_list, as_mapping, vm_spec
from vmkit.provision.yamlwrite import write_yaml

INLINE_LIMIT_BYTES: Final = 2048
"""What KubeVirt takes inline, for user data and network data each, after base64 is decoded
(KubeVirt pkg/virt-api/webhooks/validating-webhook/admitters/vmi-create-admitter.go)."""

VOLUME_KINDS: Final = ("cloudInitNoCloud", "cloudInitConfigDrive")
_PARTS: Final = (
    # inline, base64, the volume's reference, the Secret's key (KubeVirt pkg/cloud-init/cloud-init.go)
    ("userData", "userDataBase64", "secretRef", "userdata"),
    ("networkData", "networkDataBase64", "networkDataSecretRef", "networkdata"),
)


def write_cloud_config(content: Mapping[str, Any]) -> str:
    """The text of a ``#cloud-config`` document."""
    return "#cloud-config\n" + write_yaml(content)


@dataclass(frozen=True, slots=True)
class CloudInitPart:
    """One cloud-init text of a VM.

    Attributes:
        source: the volume's ``cloudInitNoCloud`` or ``cloudInitConfigDrive`` mapping.
        path: where that mapping stands, for messages.
        field: "userData" or "networkData" (or its Base64 twin): where the text stands in it.
        reference: the field that would name a Secret instead.
        key: the key that Secret would have.
        data: the decoded text; None where the base64 is none.
    """

    source: dict[str, Any]
    path: str
    field: str
    reference: str
    key: str
    data: bytes | None


def cloud_init_parts(vm: Mapping[str, Any]) -> Iterator[CloudInitPart]:
    """Every inline cloud-init text of a VirtualMachine, whatever else is wrong with it."""
    for index, volume in enumerate(as_list(vm_spec(vm).get("volumes"))):
        for kind in VOLUME_KINDS:
            source = as_mapping(volume).get(kind)
            if not isinstance(source, dict):
                continue
            path = f"spec.template.spec.volumes[{index}].{kind}"
            for inline, encoded, reference, key in _PARTS:
                if isinstance(source.get(inline), str):
                    yield CloudInitPart(source, path, inline, reference, key, source[inline].encode())
                elif isinstance(source.get(encoded), str):
                    yield CloudInitPart(source, path, encoded, reference, key, _decoded(source[encoded]))


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def spill_cloud_init(vm: dict[str, Any], *, secret_texts: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """Moves cloud-init texts that cannot or should not stand in the VM to a Secret.

    A text is moved when it is longer than KubeVirt takes inline, or when it holds one of ``secret_texts``:
    whoever may read a VM may read what is inline in it.

    Args:
        vm: the VirtualMachine; changed in place.

    Returns:
        The Secret ("NAME-cloudinit", as manifest), or None where nothing was moved.
    """
    data: dict[str, str] = {}
    name = f"{vm['metadata']['name']}-cloudinit"
    for part in list(cloud_init_parts(vm)):
        if part.data is None or part.key in data:
            continue
        text = part.data.decode(errors="replace")
        if len(part.data) <= INLINE_LIMIT_BYTES and not any(secret in text for secret in secret_texts):
            continue
        del part.source[part.field]
        part.source[part.reference] = {"name": name}
        data[part.key] = base64.b64encode(part.data).decode()
    if not data:
        return None
    metadata = {"name": name}
    if "namespace" in vm["metadata"]:
        metadata["namespace"] = vm["metadata"]["namespace"]
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
