"""Findings and rules: what lint says, and how a rule is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from vmkit.provision.storage import RBD_SUFFIX
from vmkit.provision.walk import as_list, as_mapping, as_text


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"
    """KubeVirt or CDI would refuse it, it could never start, or data could be lost."""
    WARNING = "warning"
    """It works, and will surprise somebody."""
    INFO = "info"
    """Worth knowing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing lint has to say.

    Attributes:
        rule: the rule's id; docs/lint.md explains each.
        severity: how bad it is.
        where: the object ("VirtualMachine prod/web-1"), or the template's file.
        path: the field ("spec.template.spec.volumes[0]").
        text: what is wrong.
        remedy: what to do.
        line, column: the place in the file, where it is known.
    """

    rule: str
    severity: Severity
    where: str
    path: str
    text: str
    remedy: str
    line: int | None = None
    column: int | None = None

    def to_dict(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "rule": self.rule, "severity": str(self.severity), "where": self.where, "path": self.path,
            "text": self.text, "remedy": self.remedy,
        }  # fmt: skip
        if self.line is not None:
            document["line"] = self.line
        if self.column is not None:
            document["column"] = self.column
        return document

    @property
    def place(self) -> str:
        """Where to look: "a.yaml:12:3", as far as it is known."""
        return ":".join(str(part) for part in (self.where, self.line, self.column) if part is not None)


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """What is known about a StorageClass."""

    provisioner: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What lint may know besides the object itself.

    Attributes:
        classes: storage classes by name.
        manifests: everything that is linted together.
    """

    classes: Mapping[str, ClassFacts] = field(default_factory=dict)
    manifests: Sequence[Mapping[str, Any]] = ()

    def is_rbd(self, class_name: str) -> bool:
        """Whether volumes of that class are RBD images: by its provisioner, else by its name."""
        known = self.classes.get(class_name)
        if known is not None:
            return known.provisioner.endswith(RBD_SUFFIX)
        return "rbd" in class_name or class_name.endswith("ceph-block") or class_name == "rook-ceph-block"


class Subject:
    """One manifest, with the parts rules look at; mistyped parts are empty."""

    def __init__(self, manifest: Mapping[str, Any], surroundings: Surroundings) -> None:
        self.manifest = manifest
        self.surroundings = surroundings
        self.kind = as_text(manifest.get("kind"))
        self.metadata = as_mapping(manifest.get("metadata"))
        self.name = as_text(self.metadata.get("name"))
        self.namespace = as_text(self.metadata.get("namespace"))
        self.spec = as_mapping(manifest.get("spec"))
        self.template = as_mapping(self.spec.get("template"))
        self.guest = as_mapping(self.template.get("spec"))
        self.domain = as_mapping(self.guest.get("domain"))
        self.devices = as_mapping(self.domain.get("devices"))
        self.disks = [as_mapping(item) for item in as_list(self.devices.get("disks"))]
        self.filesystems = [as_mapping(item) for item in as_list(self.devices.get("filesystems"))]
        self.interfaces = [as_mapping(item) for item in as_list(self.devices.get("interfaces"))]
        self.networks = [as_mapping(item) for item in as_list(self.guest.get("networks"))]
        self.volumes = [as_mapping(item) for item in as_list(self.guest.get("volumes"))]
        self.data_volume_templates = [as_mapping(item) for item in as_list(self.spec.get("dataVolumeTemplates"))]

    @property
    def where(self) -> str:
        path = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {path}".strip()

    @property
    def is_windows(self) -> bool:
        """Whether the guest is a Windows: by preference, by label, by its sysprep disk or its hyper-v features."""
        preference = as_text(as_mapping(self.spec.get("preference")).get("name"))
        labels = as_mapping(as_mapping(self.template.get("metadata")).get("labels"))
        return (
            preference.startswith("windows")
            or labels.get("vmkit.io/os") == "windows"
            or as_text(labels.get("kubevirt.io/os")).startswith("win")
            or any("sysprep" in volume for volume in self.volumes)
            or "hyperv" in as_mapping(self.domain.get("features"))
        )

    def claims(self) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
        """Every volume this manifest asks for: path, spec of the DataVolume or claim, the claim's own part."""
        if self.kind == "PersistentVolumeClaim":
            yield "spec", self.spec, self.spec
        volumes: list[tuple[str, Mapping[str, Any]]] = []
        if self.kind == "DataVolume":
            volumes.append(("spec", self.spec))
        if self.kind == "DataImportCron":
            volumes.append(("spec.template.spec", self.guest))
        if self.kind == "VirtualMachine":
            volumes += [
                (f"spec.dataVolumeTemplates[{index}].spec", as_mapping(item.get("spec")))
                for index, item in enumerate(self.data_volume_templates)
            ]
        for path, spec in volumes:
            for key in ("storage", "pvc"):
                if isinstance(spec.get(key), Mapping):
                    yield f"{path}.{key}", spec, spec[key]


Said = tuple[str, str, str]
"""What a rule gives for each finding: path, text, remedy."""
Check = Callable[[Subject], Iterator[Said]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: its stable name.
        severity: of all its findings.
        title: what it looks for.
        source: where the rule comes from.
        kinds: the kinds it looks at.
        check: the rule itself.
    """

    id: str
    severity: Severity
    title: str
    source: str
    kinds: frozenset[str]
    check: Check


RULES: Final[dict[str, Rule]] = {}
"""Every rule about manifests, by id."""

VM: Final = ("VirtualMachine",)


def rule(
    rule_id: str, severity: Severity, title: str, source: str, *, kinds: Sequence[str] = VM
) -> Callable[[Check], Check]:
    """Registers a rule."""

    def register(check: Check) -> Check:
        assert rule_id not in RULES, rule_id
        RULES[rule_id] = Rule(rule_id, severity, title, source, frozenset(kinds), check)
        return check

    return register
