"""Running the rules over manifests and templates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from vmkit.errors import InputError, PositionedError
from vmkit.provision.cloudconfig import spill_cloud_init
from vmkit.provision.lint import device_rules, field_rules, guest_rules, storage_rules
from vmkit.provision.lint.model import RULES, ClassFacts, Finding, Rule, Severity, Subject, Surroundings
from vmkit.provision.model import Template
from vmkit.provision.parameters import Parameter, ParameterType
from vmkit.provision.render import RenderContext, Renderer
from vmkit.provision.storage import StorageChoice
from vmkit.provision.walk import as_mapping, as_text
from vmkit.provision.yamlread import Document

_MODULES: Final = (device_rules, field_rules, guest_rules, storage_rules)
"""Importing them registered their rules."""

_EXAMPLE_KEY: Final = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample1 example"
_MAX_VARIANTS: Final = 64
_SECRET_WORDS: Final = re.compile(
    r"(?:^|_)(?:password|passwd|secret|token|api_key|private_key|credential)s?(?:_|$)"
)

TEMPLATE_RULES: Final = (
    ("does-not-render", Severity.ERROR, "The template renders with its defaults and examples"),
    ("no-example", Severity.ERROR, "A required parameter has an example that lint can render with"),
    ("fixed-name", Severity.WARNING, "The VM's name holds the name given, or a second VM would be the first"),
    ("parameter-unused", Severity.WARNING, "Every parameter is used by a body"),
    ("plain-secret", Severity.WARNING, "A parameter called like a password is marked secret"),
    ("parameter-without-help", Severity.INFO, "Every parameter says what it is for"),
    ("file-name", Severity.WARNING, "The file is called like the template: -t finds it by the file's name"),
    ("cloud-init-moved", Severity.INFO, "Cloud-init that is too long or holds a secret goes to a Secret"),
)
"""Rules about templates themselves: id, severity, title."""

_NO_EXAMPLE: Final = object()


def all_rules() -> list[tuple[str, Severity, str, str]]:
    """Every rule: id, severity, title, source; sorted by severity and id."""
    order = list(Severity)
    rules = [(rule.id, rule.severity, rule.title, rule.source) for rule in RULES.values()]
    rules += [(rule_id, severity, title, "vmkit") for rule_id, severity, title in TEMPLATE_RULES]
    return sorted(rules, key=lambda item: (order.index(item[1]), item[0]))


def lint_manifests(
    manifests: Sequence[Mapping[str, Any]], surroundings: Surroundings | None = None
) -> list[Finding]:
    """Looks at manifests as the API server would get them.

    Args:
        manifests: any objects; those that no rule knows are passed over.
        surroundings: storage classes that are known. StorageClasses among the manifests are known by themselves.
    """
    given = surroundings or Surroundings()
    known = dict(given.classes)
    for manifest in manifests:
        if manifest.get("kind") == "StorageClass":
            name = as_text(as_mapping(manifest.get("metadata")).get("name"))
            parameters = {key: as_text(value) for key, value in as_mapping(manifest.get("parameters")).items()}
            known[name] = ClassFacts(as_text(manifest.get("provisioner")), parameters)
    together = Surroundings(known, manifests)
    findings: list[Finding] = []
    for manifest in manifests:
        subject = Subject(manifest, together)
        for rule in RULES.values():
            if subject.kind in rule.kinds:
                findings += _findings(rule, subject)
    return findings


def _findings(rule: Rule, subject: Subject) -> Iterator[Finding]:
    for path, text, remedy in rule.check(subject):
        yield Finding(rule.id, rule.severity, subject.where, path, text, remedy)


def lint_documents(
    documents: Sequence[Document], where: str, surroundings: Surroundings | None = None
) -> list[Finding]:
    """As `lint_manifests`, for documents of a file: findings carry the file's line."""
    manifests = [document.value if isinstance(document.value, dict) else {} for document in documents]
    findings: list[Finding] = []
    for document, manifest in zip(documents, manifests, strict=True):
        if not as_text(manifest.get("kind")) or not as_text(manifest.get("apiVersion")):
            place = document.position()
            findings.append(Finding(
                "does-not-render", Severity.ERROR, where, "", "this is no Kubernetes object",
                "every manifest has apiVersion, kind and metadata.name", place.line,
            ))  # fmt: skip
    if not documents:
        findings.append(Finding(
            "does-not-render", Severity.ERROR, where, "", "the file holds neither a template nor a manifest",
            "vmkit template new begins one",
        ))  # fmt: skip
    by_subject = {
        Subject(manifest, Surroundings()).where: document
        for document, manifest in zip(documents, manifests, strict=True)
    }
    for finding in lint_manifests(manifests, surroundings):
        line = by_subject[finding.where].position(*_path(finding.path)).line
        findings.append(Finding(
            finding.rule, finding.severity, f"{where}: {finding.where}", finding.path, finding.text,
            finding.remedy, line,
        ))  # fmt: skip
    return findings


def _path(text: str) -> tuple[str | int, ...]:
    """ "spec.volumes[0].name" as ("spec", "volumes", 0, "name"); a key in brackets is taken as it is."""
    parts: list[str | int] = []
    for key, bracket in re.findall(r"([^.\[\]]+)|\[([^\]]*)\]", text):
        parts.append(key or (int(bracket) if bracket.isdigit() else bracket))
    return tuple(parts)


def lint_template(template: Template, surroundings: Surroundings | None = None) -> list[Finding]:
    """Looks at a template: the file itself, and what it renders with its defaults, its examples and every choice.

    What ``vmkit create`` does by itself (cloud-init that is too long goes to a Secret) counts as done.
    """
    try:
        renderer = Renderer(template)
    except PositionedError as error:
        return [broken(template.where, error)]
    findings = list(_lint_parameters(template, renderer))
    seen: set[tuple[str, str, str]] = set()
    for answers in _variants(template):
        try:
            rendered = renderer.render(answers, _context("lint-a", surroundings))
        except InputError as error:
            if _new(seen, "does-not-render", error.message, ""):
                findings.append(broken(template.where, error))
            continue
        manifests = rendered.manifests
        for manifest in [item for item in manifests if item["kind"] == "VirtualMachine"]:
            secret = spill_cloud_init(manifest, secret_texts=rendered.secret_texts)
            if secret is not None:
                manifests = [*manifests, secret]
                if _new(seen, "cloud-init-moved", "", ""):
                    findings.append(_finding(
                        template, "cloud-init-moved", "metadata.name",
                        "cloud-init is too long or holds a secret: vmkit create puts it into a Secret",
                        "nothing to do; without vmkit, make the Secret yourself",
                    ))  # fmt: skip
            if "lint-a" not in manifest["metadata"]["name"] and _new(seen, "fixed-name", "", ""):
                findings.append(_finding(
                    template, "fixed-name", "metadata.name",
                    f"the VM is always called {manifest['metadata']['name']!r}", "write name: {{ name }}",
                ))  # fmt: skip
        findings += [
            Finding(
                finding.rule, finding.severity, f"{template.where}: {finding.where.partition(' ')[0]}",
                finding.path, finding.text, finding.remedy,
            )
            for finding in lint_manifests(manifests, surroundings)
            if _new(seen, finding.rule, finding.where.partition(" ")[0], finding.path)
        ]  # fmt: skip
    return findings


def _new(seen: set[tuple[str, str, str]], *key: str) -> bool:
    entry = (key[0], key[1], key[2])
    if entry in seen:
        return False
    seen.add(entry)
    return True


def _context(name: str, surroundings: Surroundings | None) -> RenderContext:
    classes = (surroundings or Surroundings()).classes
    storage = StorageChoice(class_name=next(iter(classes))) if len(classes) == 1 else None
    return RenderContext(name, "lint", storage=storage)


def _finding(
    template: Template, rule: str, path: str, text: str, remedy: str, *, line: int | None = None
) -> Finding:
    severity = next(severity for rule_id, severity, _ in TEMPLATE_RULES if rule_id == rule)
    return Finding(rule, severity, template.where, path, text, remedy, line)


def broken(where: str, error: InputError) -> Finding:
    """A file that cannot be read, or does not render, as a finding."""
    line, column = (error.line, error.column) if isinstance(error, PositionedError) else (None, None)
    return Finding("does-not-render", Severity.ERROR, where, "", error.message, error.hint, line, column)


def _lint_parameters(template: Template, renderer: Renderer) -> Iterator[Finding]:
    for parameter in template.parameters:
        path = f"parameters.{parameter.name}"
        if parameter.name not in renderer.uses:
            yield _finding(template, "parameter-unused", path, f"no body uses {parameter.name!r}", "remove it")
        if not parameter.help:
            yield _finding(template, "parameter-without-help", path, "it has no help", "add one sentence")
        if _SECRET_WORDS.search(parameter.name) and not parameter.secret:
            yield _finding(template, "plain-secret", path, "it sounds like a secret", "add secret: true")
        if parameter.required and example_answer(parameter) is _NO_EXAMPLE:
            yield _finding(
                template,
                "no-example",
                path,
                "it is required and has no example",
                "add example: with a value that works",
            )
    if template.path is not None and template.path.stem != template.name:
        yield _finding(
            template, "file-name", "name",
            f"the template is called {template.name!r}, its file {template.path.name!r}",
            f"call the file {template.name}.yaml",
        )  # fmt: skip


def example_answer(parameter: Parameter) -> Any:
    """An answer that fits: the example, or one made from type and bounds; else `_NO_EXAMPLE`."""
    if parameter.example is not None:
        return parameter.example
    if parameter.choices:
        return parameter.choices[0]
    if parameter.pattern:
        return _NO_EXAMPLE
    made: dict[ParameterType, Any] = {
        ParameterType.STRING: "example", ParameterType.TEXT: "example\n", ParameterType.BOOLEAN: True,
        ParameterType.INTEGER: int(parameter.minimum or parameter.maximum or 1),
        ParameterType.NUMBER: float(parameter.minimum or parameter.maximum or 1),
        ParameterType.QUANTITY: parameter.minimum_text or parameter.maximum_text or "1Gi",
        ParameterType.LIST: ["example"], ParameterType.NAME: "example", ParameterType.SSH_KEY: _EXAMPLE_KEY,
        ParameterType.SSH_KEYS: [_EXAMPLE_KEY], ParameterType.CRON: "0 3 * * 1",
        ParameterType.IMAGE: "docker://registry.example/image:1",
    }  # fmt: skip
    return made.get(parameter.type, _NO_EXAMPLE)


def required_examples(template: Template) -> dict[str, Any]:
    """An example answer for every required parameter that has one."""
    examples = {
        parameter.name: example_answer(parameter) for parameter in template.parameters if parameter.required
    }
    return {name: value for name, value in examples.items() if value is not _NO_EXAMPLE}


def _variants(template: Template) -> Iterator[dict[str, Any]]:
    """Sets of answers that between them go through every choice, switch and optional parameter."""
    base = required_examples(template)
    yield base
    count = 1
    everything: dict[str, Any] = dict(base)
    for parameter in template.parameters:
        values: list[Any] = []
        if parameter.type is ParameterType.BOOLEAN:
            values = [not parameter.default]
        elif parameter.choices and parameter.type is ParameterType.CHOICE:
            values = [choice for choice in parameter.choices if choice != parameter.default]
        elif not parameter.required and parameter.default in (None, []):
            example = example_answer(parameter)
            values = [] if example is _NO_EXAMPLE else [example]
        for value in values:
            everything.setdefault(parameter.name, value)
            if count < _MAX_VARIANTS:
                count += 1
                yield {**base, parameter.name: value}
    yield everything
