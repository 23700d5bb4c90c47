"""Names of objects: which VM, in which namespace."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vmkit.errors import InvalidName

# RFC 1123, as k8s.io/apimachinery/pkg/util/validation has it. A VM's name becomes a label, a host name and the
# stem of pod names, which break above 63 characters although admission lets it pass (kubevirt#1222, #1223).
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, order=True)
class VmRef:
    """One VM: its namespace and name. ``str()`` gives "namespace/name"."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def check_vm_name(name: str, *, where: str = "") -> str:
    """Returns the name if Kubernetes, DNS and KubeVirt's own labels can all carry it.

    Raises:
        InvalidName: it is no RFC 1123 label of at most 63 characters; the hint proposes one.
    """
    if _LABEL.fullmatch(name):
        return name
    proposal = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].rstrip("-")
    raise InvalidName(
        f"{name!r} cannot name a VM: lower-case letters, digits and '-' only, starting and ending with a "
        "letter or digit, at most 63 characters",
        hint=f'did you mean "{proposal}"?' if proposal else "",
        where=where,
    )


def parse_vm_ref(text: str, *, default_namespace: str) -> VmRef:
    """Reads "name" or "namespace/name".

    Raises:
        InvalidName: either part cannot be such a name.
    """
    namespace, slash, name = text.rpartition("/")
    if slash and not _LABEL.fullmatch(namespace):
        raise InvalidName(f"{text!r} names no VM", hint='write "name" or "namespace/name"')
    if not name or len(name) > 253 or not all(_LABEL.fullmatch(part) for part in name.split(".")):
        # A VM made by others may carry a dotted name of up to 253 characters: it can be stopped, not created.
        raise InvalidName(f"{text!r} names no VM", hint='write "name" or "namespace/name"')
    return VmRef(namespace or default_namespace, name)
