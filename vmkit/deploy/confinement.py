"""What an account may change of VMs that it may patch, and whom its pods may talk to.

Roles cannot tell fields apart: who may patch VMs could rewrite their whole spec. A ValidatingAdmissionPolicy
(Kubernetes 1.30) can. The objects of custom resources are plain maps in its expressions, which keep to the core of
CEL, so that they mean the same in every release (Kubernetes documentation, "Validating Admission Policy").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from vmkit.deploy.component import Component

_GROUP: Final = "admissionregistration.k8s.io/v1"
_DNS_PORT: Final = 53
_API_PORTS: Final = (443, 6443)


def build_admission_policy(
    component: Component,
    *,
    what: str,
    annotations: str = "vmkit.io/",
    spec_fields: Sequence[str] = ("runStrategy", "running"),
) -> list[dict[str, Any]]:
    """A policy and its binding: of VMs the account changes some annotations and some fields, and nothing else.

    Nobody else is concerned by it.

    Args:
        what: who is confined, as the refusals call it: "schedules".
        annotations: how the annotations begin that it may write.
        spec_fields: the fields of a VM's spec that it may change.
    """
    free = ", ".join(f"'{name}'" for name in spec_fields)
    variables = {
        "oldNotes": _or_empty("oldObject.metadata", "annotations"),
        "newNotes": _or_empty("object.metadata", "annotations"),
    }
    may_note = f"key.startsWith('{annotations}')"
    validations = [
        ("request.operation == 'UPDATE'", f"{what} make no VMs"),
        (
            _same_but_for("variables.newNotes", "variables.oldNotes", may_note),
            f"{what} may write no annotations but {annotations}*",
        ),
        (
            _same_but_for("object.spec", "oldObject.spec", f"key in [{free}]"),
            f"{what} may change nothing of a VM's spec but its run strategy",
        ),
        (
            " && ".join(_same_field(field) for field in ("labels", "finalizers", "ownerReferences")),
            f"{what} may not change labels, finalizers or owners of a VM",
        ),
    ]
    rule = {
        "apiGroups": ["kubevirt.io"],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["virtualmachines"],
    }
    return [
        {
            "apiVersion": _GROUP,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": component.metadata(placed=False),
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [rule]},
                "matchConditions": [
                    {
                        "name": f"by-{component.name}",
                        "expression": f"request.userInfo.username == '{component.user}'",
                    }
                ],
                "variables": [{"name": name, "expression": expression} for name, expression in variables.items()],
                "validations": [
                    {"expression": expression, "message": message, "reason": "Forbidden"}
                    for expression, message in validations
                ],
            },
        },
        {
            "apiVersion": _GROUP,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": component.metadata(placed=False),
            "spec": {"policyName": component.name, "validationActions": ["Deny"]},
        },
    ]


def _or_empty(owner: str, field: str) -> str:
    """A map that may be missing. On CREATE there is no old object at all."""
    guard = "oldObject != null && " if owner.startswith("oldObject") else ""
    return f"{guard}has({owner}.{field}) ? {owner}.{field} : {{}}"


def _same_but_for(new: str, old: str, is_free: str) -> str:
    def covers(these: str, those: str) -> str:
        return f"{these}.all(key, {is_free} || (key in {those} && {those}[key] == {these}[key]))"

    return f"{covers(new, old)} && {covers(old, new)}"


def _same_field(field: str) -> str:
    new, old = f"object.metadata.{field}", f"oldObject.metadata.{field}"
    return f"(has({new}) == has({old}) && (!has({new}) || {new} == {old}))"


def build_network_policy(
    component: Component, *, ingress_port: int | None = None, egress_ports: Sequence[int] = ()
) -> dict[str, Any]:
    """Its pods may ask for names and reach API servers, whose addresses no policy knows.

    Args:
        ingress_port: the port that others may connect to; None: nobody may connect.
        egress_ports: further TCP ports that it has to reach.
    """
    ingress = [{"ports": [{"protocol": "TCP", "port": ingress_port}]}] if ingress_port is not None else []
    ports = dict.fromkeys((*_API_PORTS, *egress_ports))
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": component.metadata(),
        "spec": {
            "podSelector": {"matchLabels": dict(component.labels)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": [
                {"ports": [{"protocol": protocol, "port": _DNS_PORT} for protocol in ("UDP", "TCP")]},
                {"ports": [{"protocol": "TCP", "port": port} for port in ports]},
            ],
        },
    }
