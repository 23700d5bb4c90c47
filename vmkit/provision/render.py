"""Templates and answers in, manifests out. Pure, and fast enough for thousands of VMs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vmkit.errors import TemplateError
from vmkit.provision.images import Image, ImageChoice, decide_image
from vmkit.provision.model import BUILT_IN_NAMES, Template, TemplateBody
from vmkit.provision.parameters import ParameterType, complete_answers
from vmkit.provision.sandbox import Body, BodyMistake
from vmkit.provision.skeleton import Fill, parse_skeletons
from vmkit.provision.storage import StorageChoice
from vmkit.provision.values import BodyFailure
from vmkit.provision.yamlread import Position
from vmkit.vm.mac import build_mac_address
from vmkit.vm.reference import VmRef

CLUSTER_SCOPED: Final = frozenset({
    "CDI", "CSIDriver", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "KubeVirt", "Namespace",
    "PersistentVolume", "PriorityClass", "StorageClass", "StorageProfile", "VirtualMachineClusterInstancetype",
    "VirtualMachineClusterPreference", "VolumeAttributesClass", "VolumeSnapshotClass", "VolumeSnapshotContent",
})  # fmt: skip
"""Kinds without a namespace among those that templates make."""

_ORDER: Final = {
    kind: rank
    for rank, kinds in enumerate((
        ("Namespace", "CustomResourceDefinition"),
        ("CephBlockPool", "CephFilesystem", "StorageClass", "VolumeSnapshotClass", "PriorityClass"),
        ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"),
        ("Secret", "ConfigMap"),
        ("PersistentVolumeClaim", "DataVolume", "DataImportCron", "DataSource", "VolumeSnapshot"),
    ))
    for kind in kinds
}  # fmt: skip
_LAST: Final = 9
_CACHED_SKELETONS: Final = 64
_MAC_NIC: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")


@dataclass(frozen=True, slots=True)
class RenderContext:
    """What a body sees besides the answers.

    Attributes:
        name: the VM's name.
        namespace: its namespace.
        index: its number within the run, from 0.
        storage: the storage chosen; None where nothing was chosen, and the cluster's own choice holds.
        present: which image references the cluster has; None where no cluster was asked.
    """

    name: str
    namespace: str
    index: int = 0
    storage: StorageChoice | None = None
    present: Mapping[Image, bool | None] | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a template gave for one set of answers.

    Attributes:
        manifests: in the order they have to be created in.
        answers: all answers, defaults filled in; images as the texts that were asked for.
        images: the image taken for each parameter of type image.
        secret_texts: the secret answers, to keep them out of what people see.
    """

    manifests: list[dict[str, Any]]
    answers: dict[str, Any]
    images: dict[str, ImageChoice] = field(default_factory=dict)
    secret_texts: tuple[str, ...] = ()


class Renderer:
    """One template, compiled; used from one thread at a time.

    Raises:
        TemplateError: a body has a mistake; with the file's line and column.
    """

    def __init__(self, template: Template) -> None:
        self.template = template
        self.uses: dict[str, int] = {}
        """The outside names the bodies use, and the file's line of the first use."""
        known = {parameter.name for parameter in template.parameters} | set(BUILT_IN_NAMES)
        self._bodies: list[tuple[TemplateBody, Body, dict[str, list[Fill]]]] = []
        for body in template.bodies:
            try:
                compiled = Body(body.source)
            except BodyMistake as mistake:
                raise self._error(body, mistake) from None
            for name, line in compiled.names.items():
                if name not in known:
                    raise self._error(body, BodyMistake(
                        f"{name!r} is neither a parameter nor built in", line, name, _meant(name, known)
                    ))  # fmt: skip
                self.uses.setdefault(name, body.line + line - 1)
            self._bodies.append((body, compiled, {}))

    def render(self, answers: Mapping[str, Any], context: RenderContext) -> Rendered:
        """The manifests for one set of answers.

        Raises:
            AnswerError: an answer is missing, unknown or does not fit.
            TemplateError: a body fails with these answers; with the file's line.
        """
        template = self.template
        complete = complete_answers(template.parameters, answers, template=template.name)
        return self.render_complete(complete, context)

    def render_complete(self, complete: Mapping[str, Any], context: RenderContext) -> Rendered:
        """As `render`, from answers that are complete and checked."""
        names, images = self._names(complete, context)
        manifests: list[dict[str, Any]] = []
        for body, compiled, cache in self._bodies:
            try:
                text, values = compiled.run(names)
            except BodyMistake as mistake:
                raise self._error(body, mistake) from None
            fills = cache.get(text)
            if fills is None:
                fills = parse_skeletons(
                    text, where=self.template.where,
                    locate=lambda place, body=body: self._locate(body, names, place),  # type: ignore[misc]
                )  # fmt: skip
                if len(cache) >= _CACHED_SKELETONS:
                    cache.clear()
                cache[text] = fills
            try:
                documents = [fill(values) for fill in fills]
            except BodyFailure as failure:
                line = self._token_line(body, names, failure.token)
                raise self._error(body, BodyMistake(failure.message, line, hint=failure.hint)) from None
            for document in documents:
                self._check_manifest(body, document)
                manifests.append(_placed(document, context.namespace))
        if len(manifests) > 1:
            manifests.sort(key=lambda manifest: _ORDER.get(manifest["kind"], _LAST))
        secrets = tuple(
            text
            for parameter in self.template.parameters
            if parameter.secret and complete[parameter.name]
            for text in _texts(complete[parameter.name])
        )
        return Rendered(manifests, dict(complete), images, secrets)

    def _names(
        self, complete: Mapping[str, Any], context: RenderContext
    ) -> tuple[dict[str, Any], dict[str, ImageChoice]]:
        def mac(nic: Any = "default") -> str:
            if not isinstance(nic, str) or not _MAC_NIC.fullmatch(nic):
                raise BodyFailure("mac() wants the name of an interface")
            return build_mac_address(VmRef(context.namespace, context.name), nic)

        names: dict[str, Any] = {
            **complete,
            "name": context.name,
            "namespace": context.namespace,
            "index": context.index,
            "storage": (context.storage or StorageChoice()).to_value(),
            "mac": mac,
            "template": {"name": self.template.name, "title": self.template.title},
        }
        images: dict[str, ImageChoice] = {}
        for parameter in self.template.of_type(ParameterType.IMAGE):
            if complete[parameter.name] is not None:
                choice = decide_image(
                    complete[parameter.name], namespace=context.namespace, present=context.present
                )
                images[parameter.name] = choice
                names[parameter.name] = choice.to_value(context.namespace)
        return names, images

    def _check_manifest(self, body: TemplateBody, document: Any) -> None:
        missing = "a mapping"
        if isinstance(document, dict):
            metadata = document.get("metadata")
            present = {
                "apiVersion": document.get("apiVersion"),
                "kind": document.get("kind"),
                "metadata.name": metadata.get("name") if isinstance(metadata, dict) else None,
            }
            missing = next((key for key, value in present.items() if not isinstance(value, str) or not value), "")
        if missing:
            raise TemplateError(
                f"object {body.name!r} renders no manifest: {missing} is missing",
                hint="every manifest has apiVersion, kind and metadata.name",
                where=self.template.where,
                line=body.line,
                column=body.indent + 1,
            )

    def _error(self, body: TemplateBody, mistake: BodyMistake) -> TemplateError:
        return TemplateError(
            f"object {body.name!r}: {mistake.message}",
            hint=mistake.hint,
            where=self.template.where,
            line=body.line + mistake.line - 1,
            column=body.indent + _column(body.source, mistake.line, mistake.word),
        )

    def _locate(self, body: TemplateBody, names: Mapping[str, Any], place: Position) -> Position:
        # The text was rendered from a body with loops and conditions: its lines are not the body's. A second run
        # with every piece of text marked by its line tells them apart; only errors pay for it.
        marked, _ = Body(body.source, marked=True).run(names)
        lines = marked.splitlines()
        line = _marked_line("\n".join(lines[: place.line]))
        source = _source_line(body.source, line)
        rendered = re.sub("\ue002[0-9]+\ue003", "", lines[place.line - 1]) if place.line <= len(lines) else ""
        same = source.startswith(rendered[: place.column - 1])
        column = place.column if same else _column(body.source, line, "")
        return Position(body.line + line - 1, body.indent + column)

    def _token_line(self, body: TemplateBody, names: Mapping[str, Any], token: int | None) -> int:
        if token is None:
            return 1
        marked, _ = Body(body.source, marked=True).run(names)
        return _marked_line(marked.partition(f"\ue000{token}\ue001")[0])


def _marked_line(marked: str) -> int:
    """The body's line at the end of a marked text."""
    before, _, after = marked.rpartition("\ue002")
    if not after:
        return 1
    number, _, text = after.partition("\ue003")
    # A print on a line of its own comes after the previous line's text and its line break.
    return int(number) + (text.count("\n") if before or text else 0)


def _source_line(source: str, line: int) -> str:
    lines = source.splitlines()
    return lines[line - 1] if 0 < line <= len(lines) else ""


def _column(source: str, line: int, word: str) -> int:
    """The column (from 1) of ``word`` on that line; without it, of the first tag, or of the first text."""
    text = _source_line(source, line)
    if word:
        found = re.search(rf"(?<![A-Za-z0-9_]){re.escape(word)}(?![A-Za-z0-9_])", text)
        if found is not None:
            return found.start() + 1
    tag = re.search(r"\{[{%]", text)
    if tag is not None:
        return tag.start() + 1
    return len(text) - len(text.lstrip()) + 1


def _meant(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), 1)
    return f"did you mean {close[0]!r}?" if close else "add it to the template's parameters"


def _texts(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    return [str(value)]


def _placed(manifest: dict[str, Any], namespace: str) -> dict[str, Any]:
    """The manifest with its namespace written out, after its name."""
    metadata = manifest["metadata"]
    if "namespace" not in metadata and manifest["kind"] not in CLUSTER_SCOPED and namespace:
        rest = {key: value for key, value in metadata.items() if key != "name"}
        manifest["metadata"] = {"name": metadata["name"], "namespace": namespace, **rest}
    return manifest


def render_template(template: Template, answers: Mapping[str, Any], context: RenderContext) -> Rendered:
    """Renders once. For many VMs of one template, keep a `Renderer`.

    Raises:
        TemplateError: a body has a mistake or fails.
        AnswerError: an answer is missing, unknown or does not fit.
    """
    return Renderer(template).render(answers, context)
