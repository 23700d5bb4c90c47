"""From requests to manifests: templates, answers, adjustments, lint. Needs no cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vmkit.errors import ManifestError
from vmkit.plan.model import ObjectRef
from vmkit.provision.adjust import adjust_manifests, merge_answers
from vmkit.provision.catalog import Catalog
from vmkit.provision.cloudconfig import spill_cloud_init
from vmkit.provision.images import Image, parse_image
from vmkit.provision.lint import ClassFacts, Severity, Surroundings, lint_manifests
from vmkit.provision.parameters import ParameterType, complete_answers
from vmkit.provision.render import CLUSTER_SCOPED, RenderContext, Renderer
from vmkit.provision.request import CreateRequest
from vmkit.provision.secrecy import encode_secret, stand_ins
from vmkit.provision.storage import StorageChoice
from vmkit.provision.walk import as_text, dig


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose answers are checked and complete.

    Attributes:
        request: the request, its namespace filled in.
        renderer: its template, compiled.
        complete: all answers.
    """

    request: CreateRequest
    renderer: Renderer
    complete: Mapping[str, Any]

    @property
    def needs_storage(self) -> bool:
        """Whether the choice of storage matters to it."""
        return "storage" in self.renderer.uses or bool(self.request.disks)

    def references(self) -> Iterable[Image]:
        """The images it would take from the cluster."""
        for parameter in self.renderer.template.of_type(ParameterType.IMAGE):
            for text in self.complete[parameter.name] or ():
                image = parse_image(text)
                if image.needs_cluster:
                    yield image.within(self.request.namespace)


@dataclass(frozen=True, slots=True)
class Prepared:
    """One request, ready to be sent.

    Attributes:
        request: the request.
        target: the object that stands for it: the VM; of a template without one, the first object that has the
            name asked for, else the first.
        manifests: in the order they are created in.
        masked: the same without secrets, where they were asked for.
        secret_texts: the secret answers.
        secret_names: the parameters that were answered so.
        remarks: why which image was taken.
    """

    request: CreateRequest
    target: ObjectRef
    manifests: list[dict[str, Any]]
    masked: list[dict[str, Any]] | None = None
    secret_texts: tuple[str, ...] = ()
    secret_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def vm(self) -> dict[str, Any] | None:
        """The VirtualMachine's manifest, if the template makes one."""
        return next((manifest for manifest in self.manifests if manifest["kind"] == "VirtualMachine"), None)


def read_requests(requests: Sequence[CreateRequest], catalog: Catalog, *, default_namespace: str) -> list[Asked]:
    """Finds and compiles the templates, and checks every answer.

    Raises:
        TemplateError, AnswerError: with the template's file, or the parameter's name.
    """
    renderers: dict[str, Renderer] = {}
    asked: list[Asked] = []
    for request in requests:
        renderer = renderers.get(request.template)
        if renderer is None:
            renderer = renderers[request.template] = Renderer(catalog.find(request.template))
        template = renderer.template
        complete = complete_answers(template.parameters, merge_answers(template, request), template=template.name)
        placed = request if request.namespace else _placed(request, default_namespace)
        asked.append(Asked(placed, renderer, complete))
    return asked


def _placed(request: CreateRequest, namespace: str) -> CreateRequest:
    return CreateRequest(
        request.name, request.template, namespace, request.answers, request.disks, request.ssh_keys,
        request.storage, request.instancetype, request.preference, request.labels, request.index,
    )  # fmt: skip


@dataclass
class Preparer:
    """Renders requests; lints each kind of VM once.

    Attributes:
        storage: the storage chosen for each text of ``--storage``.
        present: which image references the cluster has; None where no cluster was asked.
        mask: whether the manifests are wanted without secrets as well.
    """

    storage: Mapping[str, StorageChoice]
    present: Mapping[Image, bool | None] | None
    mask: bool = False
    _linted: set[tuple[Any, ...]] = field(default_factory=set)

    def prepare(self, asked: Asked) -> Prepared:
        """The manifests of one request.

        Raises:
            TemplateError, AnswerError: a body fails with these answers.
            ManifestError: lint has an error; nothing was sent.
        """
        storage = self.storage.get(asked.request.storage) if asked.needs_storage else None
        manifests, secret_texts, remarks = self._manifests(asked, asked.complete, storage)
        self._lint(asked, manifests, storage)
        secret_names = tuple(
            parameter.name
            for parameter in asked.renderer.template.parameters
            if parameter.secret and asked.complete[parameter.name]
        )
        masked: list[dict[str, Any]] | None = None
        if self.mask:
            masked = manifests
            if secret_names:
                masked, _, _ = self._manifests(asked, stand_ins(asked.complete, secret_names), storage)
        return Prepared(
            request=asked.request,
            target=_target(manifests, asked),
            manifests=manifests,
            masked=masked,
            secret_texts=secret_texts,
            secret_names=secret_names,
            remarks=remarks,
        )

    def _manifests(
        self, asked: Asked, complete: Mapping[str, Any], storage: StorageChoice | None
    ) -> tuple[list[dict[str, Any]], tuple[str, ...], tuple[str, ...]]:
        request, template = asked.request, asked.renderer.template
        context = RenderContext(request.name, request.namespace, request.index, storage, self.present)
        rendered = asked.renderer.render_complete(complete, context)
        adjust_manifests(rendered.manifests, request, template, storage)
        manifests: list[dict[str, Any]] = []
        for manifest in rendered.manifests:
            if manifest["kind"] == "VirtualMachine":
                secret = spill_cloud_init(manifest, secret_texts=rendered.secret_texts)
                if secret is not None:
                    manifests.insert(0, secret)
            manifests.append(encode_secret(manifest))
        remarks = tuple(choice.reason.text for choice in rendered.images.values())
        return manifests, rendered.secret_texts, remarks

    def _lint(self, asked: Asked, manifests: Sequence[dict[str, Any]], storage: StorageChoice | None) -> None:
        # VMs that differ in nothing but their names have the same findings.
        request = asked.request
        key = (
            request.template, request.storage, request.instancetype, request.preference, len(request.name) > 50,
            repr(asked.complete), repr(request.disks), repr(request.labels),
        )  # fmt: skip
        if key in self._linted:
            return
        classes = (
            {storage.class_name: ClassFacts(storage.provisioner, storage.parameters)}
            if storage is not None and storage.provisioner
            else {}
        )
        errors = [
            finding
            for finding in lint_manifests(manifests, Surroundings(classes))
            if finding.severity is Severity.ERROR
        ]
        if errors:
            first = errors[0]
            more = f" (and {len(errors) - 1} more: vmkit template lint {request.template})" if errors[1:] else ""
            raise ManifestError(
                f"{first.where}: {first.path}: {first.text}{more}", hint=first.remedy, where=request.template
            )
        self._linted.add(key)


def _target(manifests: Sequence[Mapping[str, Any]], asked: Asked) -> ObjectRef:
    if not manifests:
        raise ManifestError(
            f"template {asked.request.template!r} makes no object with these answers", where=asked.request.template
        )
    refs = [ref_of(manifest) for manifest in manifests]
    machine = next((ref for ref in refs if ref.kind == "VirtualMachine"), None)
    return machine or next((ref for ref in refs if ref.name == asked.request.name), refs[0])


def ref_of(manifest: Mapping[str, Any]) -> ObjectRef:
    """The object a manifest describes."""
    kind = as_text(manifest.get("kind"))
    namespace = "" if kind in CLUSTER_SCOPED else as_text(dig(manifest, "metadata", "namespace"))
    return ObjectRef(kind, namespace, as_text(dig(manifest, "metadata", "name")))


def check_unique(prepared: Iterable[Prepared]) -> None:
    """Refuses two requests for one VM or one other target.

    Raises:
        ManifestError: two of them would be one object.
    """
    seen: set[ObjectRef] = set()
    for item in prepared:
        if item.target in seen:
            raise ManifestError(
                f"{item.target} is asked for twice",
                hint="a template's VM should be called {{ name }}; nothing was created",
                where=item.request.template,
            )
        seen.add(item.target)
