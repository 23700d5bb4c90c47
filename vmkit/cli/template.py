"""``vmkit template``: list, show, lint, render, new, import. None of them needs a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from vmkit.cli.app import App
from vmkit.cli.create import read_answer_files, read_pairs, read_ssh_keys
from vmkit.cli.options import OUTPUT, argument, complete_templates, group, option, output_option, pass_app
from vmkit.errors import ExitCode, TemplateError, UsageError

if TYPE_CHECKING:
    from vmkit.provision.catalog import Catalog
    from vmkit.provision.lint import Finding
    from vmkit.provision.model import Template
    from vmkit.provision.parameters import Parameter

F = TypeVar("F", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)
_ROLES: Final = {"error": "bad", "warning": "warn", "info": "dim"}


def _directory_option(function: F) -> F:
    decorated: F = option(
        "--template-dir", "template_dir", multiple=True, type=_PATH, metavar="FOLDER", everywhere=True,
        help="Where to look for templates first.",
    )(function)  # fmt: skip
    return decorated


def _catalog(directories: Sequence[Path]) -> Catalog:
    from vmkit.provision.catalog import Catalog

    return Catalog(directories)


@group("template")
def template() -> None:
    """List, show, check, render and write templates.

    Templates are found in the folders given with --template-dir, in ./templates, in ~/.config/vmkit/templates, and
    among those vmkit brings; the first of a name wins.
    """


@template.command("list")
@_directory_option
@output_option(
    formats=("table", "wide", "json", "yaml", "name", "csv"), default="table", help_text="How to write the list."
)
@pass_app
def list_(app: App, *, template_dir: tuple[Path, ...], output: str) -> ExitCode:  # fmt: skip
    """List the templates there are."""
    from vmkit.plan.model import Result
    from vmkit.report.envelope import render_document
    from vmkit.report.table import Column, render_csv, render_table

    templates, errors = _catalog(template_dir).read_all()
    columns: tuple[Column[Template], ...] = (
        Column("NAME", lambda item: item.name),
        Column("TITLE", lambda item: item.title),
        Column("ORIGIN", lambda item: f"{item.origin}, experimental" if item.experimental else item.origin),
        Column("LABELS", lambda item: ",".join(item.labels), wide=True),
        Column("FILE", lambda item: item.where, wide=True),
    )
    if output in {"json", "yaml"}:
        items = tuple(item.to_dict() for item in templates)
        app.console.data(render_document(Result("template list", items=items).to_dict(), output))
    elif output == "name":
        app.console.data("".join(f"{item.name}\n" for item in templates))
    elif output == "csv":
        app.console.data(render_csv(columns, templates))
    else:
        app.console.data(render_table(columns, templates, wide=output == "wide"))
    app.say(errors, ())
    return ExitCode.SOME_FAILED if errors else ExitCode.OK


@template.command("show")
@argument("name", shell_complete=complete_templates, metavar="TEMPLATE")
@_directory_option
@option("--source", is_flag=True, heading=OUTPUT, help="Write the template file itself.")
@output_option(formats=("json", "yaml"), help_text="How to write it; by default for people.")
@pass_app
def show(app: App, name: str, *, template_dir: tuple[Path, ...], source: bool, output: str | None) -> None:
    """Show what a template is for, what it asks, and what it makes."""
    from vmkit.plan.model import Result
    from vmkit.report.envelope import render_document

    found = _catalog(template_dir).find(name)
    if source:
        app.console.data(_read_text(Path(found.where)))
    elif output is not None:
        app.console.data(render_document(Result("template show", items=(found.to_dict(),)).to_dict(), output))
    else:
        app.console.data(_describe(found))


def _describe(found: Template) -> str:
    from vmkit.report.table import Column, render_table
    from vmkit.report.text import escape_lines, escape_text

    lines = [f"{found.name}: {found.title}"]
    if found.experimental:
        lines.append("EXPERIMENTAL")
    lines += ["", found.description.strip(), "", f"File:     {found.where}"]
    lines.append(f"Objects:  {', '.join(body.name for body in found.bodies)}")
    text = escape_lines("\n".join(lines)) + "\n"
    if not found.parameters:
        return text
    columns: tuple[Column[Parameter], ...] = (
        Column("PARAMETER", lambda item: item.name),
        Column("TYPE", lambda item: str(item.type)),
        Column("DEFAULT", lambda item: "(required)" if item.required else _short(item.default)),
        Column("TAKES", lambda item: "(secret)" if item.secret else item.bounds),
        Column("HELP", lambda item: item.help),
    )
    return f"{text}\n{render_table(columns, found.parameters)}\nvmkit create NAME -t {escape_text(found.name)}\n"


def _short(value: Any) -> str:
    if value is None:
        return "-"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    first = text.partition("\n")[0]
    return first if len(text) <= 40 else f"{first[:37]}..."


@template.command("lint")
@argument("files", nargs=-1, shell_complete=complete_templates, metavar="[TEMPLATE|FILE]...")
@_directory_option
@option("--strict", is_flag=True, help="Warnings count as errors.")
@output_option(formats=("table", "json", "yaml"), help_text="How to write the findings; by default one line each.")
@pass_app
def lint(
    app: App, files: tuple[str, ...], *, template_dir: tuple[Path, ...], strict: bool, output: str | None
) -> ExitCode:
    """Check templates and manifests for what admission would refuse and what surprises people.

    Without names, all templates are checked. A file that holds no template is checked as manifests. docs/lint.md
    lists the rules.
    """
    from vmkit.plan.model import Result
    from vmkit.provision.lint import Severity
    from vmkit.report.envelope import render_document
    from vmkit.report.table import Column, render_table

    catalog = _catalog(template_dir)
    names = files or tuple(str(entry.path) for entry in catalog.entries() if not entry.shadowed)
    findings: list[Finding] = []
    for name in names:
        findings += _lint_one(catalog, name)
    if output in {"json", "yaml"}:
        items = tuple(finding.to_dict() for finding in findings)
        app.console.data(render_document(Result("template lint", items=items).to_dict(), output))
    elif output == "table":
        columns: tuple[Column[Finding], ...] = (
            Column("SEVERITY", lambda item: str(item.severity)), Column("RULE", lambda item: item.rule),
            Column("WHERE", lambda item: item.place), Column("FIELD", lambda item: item.path),
            Column("FINDING", lambda item: item.text),
        )  # fmt: skip
        app.console.data(render_table(columns, findings))
    else:
        for finding in findings:
            path = f" {finding.path}:" if finding.path else ""
            text = f"{finding.place}: {finding.severity}:{path} {finding.text} [{finding.rule}]"
            app.console.report(text, role=_ROLES[str(finding.severity)])
            if finding.remedy:
                app.console.note(f"  {finding.remedy}")
    counts = {severity: sum(finding.severity is severity for finding in findings) for severity in Severity}
    checked = f"{len(names)} file{'s' if len(names) != 1 else ''} checked"
    app.console.note(f"{checked}: {', '.join(f'{count} {severity}' for severity, count in counts.items())}")
    bad = counts[Severity.ERROR] + (counts[Severity.WARNING] if strict else 0)
    return ExitCode.INPUT if bad else ExitCode.OK


def _lint_one(catalog: Catalog, name: str) -> list[Finding]:
    from vmkit.provision.lint import lint_template
    from vmkit.provision.lint.run import broken, lint_documents
    from vmkit.provision.yamlread import read_documents

    try:
        path = Path(name)
        if path.is_file():
            documents = read_documents(_read_text(path), where=name, error=TemplateError)
            if not any(isinstance(item.value, dict) and item.value.get("kind") == "Template"
                       and item.value.get("apiVersion") == "vmkit.io/v1" for item in documents):  # fmt: skip
                return lint_documents(documents, name)
        return lint_template(catalog.find(name))
    except TemplateError as error:
        if error.line is None:
            raise
        return [broken(error.where, error)]


@template.command("render")
@argument("template_name", metavar="TEMPLATE", shell_complete=complete_templates)
@argument("name", required=False, default="example", metavar="[NAME]")
@_directory_option
@option("--set", "set_", multiple=True, metavar="KEY=VALUE", help="An answer to a parameter.")
@option("--set-file", multiple=True, metavar="KEY=FILE", help='An answer from a file; "-" is stdin.')
@option("--disk", "disks", multiple=True, metavar="NAME=SIZE", help="The size of a disk.")
@option("--ssh-key", "ssh_keys", multiple=True, metavar="FILE", help="A public key that may log in.")
@option("-n", "--namespace", default="default", metavar="NAMESPACE", show_default=True, help="The VM's namespace.")
@option("--storage", default="", metavar="CLASS", help="A storage class to write in; else the cluster's default.")
@option("--instancetype", default="", metavar="NAME", help="CPU and memory by an instancetype.")
@option("--preference", default="", metavar="NAME", help="The preference for the guest's system.")
@option("--examples", is_flag=True, help="Answer required parameters with the template's examples.")
@option("--show-secrets", is_flag=True, heading=OUTPUT, help="Show secrets instead of leaving them out.")
@output_option(formats=("yaml", "json"), default="yaml", help_text="How to write the manifests.")
@pass_app
def render(
    app: App,
    template_name: str,
    name: str,
    *,
    template_dir: tuple[Path, ...],
    set_: tuple[str, ...],
    set_file: tuple[str, ...],
    examples: bool,
    output: str,
    **asked: Any,
) -> None:  # fmt: skip
    """Write the manifests a template gives, without asking any cluster.

    vmkit create does more: it chooses storage and images by what the cluster has.
    """
    from vmkit.provision.offline import render_offline
    from vmkit.provision.request import CreateRequest
    from vmkit.report.documents import render_json, render_yaml_documents

    catalog = _catalog(template_dir)
    answers: dict[str, Any] = read_pairs(set_, where="--set", example="cpu=4")
    answers.update(read_answer_files(app, set_file))
    if examples:
        from vmkit.provision.lint.run import required_examples

        answers = {**required_examples(catalog.find(template_name)), **answers}
    request = CreateRequest(
        name, template_name, asked["namespace"], answers,
        read_pairs(asked["disks"], where="--disk", example="data=100Gi"), read_ssh_keys(asked["ssh_keys"]),
        asked["storage"], asked["instancetype"], asked["preference"],
    )  # fmt: skip
    manifests, notice = render_offline(request, catalog, show_secrets=asked["show_secrets"])
    app.console.data(render_json(manifests) if output == "json" else render_yaml_documents(manifests))
    app.say((), [notice] if notice else ())


@template.command("new")
@argument("name", metavar="NAME")
@_directory_option
@option(
    "--from",
    "based_on",
    default="debian",
    metavar="TEMPLATE",
    show_default=True,
    shell_complete=complete_templates,
    help="The template to begin with.",
)
@option(
    "--folder",
    type=_PATH,
    default=Path("templates"),
    metavar="FOLDER",
    show_default=True,
    help="Where to write it.",
)
@option("--force", is_flag=True, help="Write over a file that is there.")
@pass_app
def new(
    app: App, name: str, *, template_dir: tuple[Path, ...], based_on: str, folder: Path, force: bool
) -> None:  # fmt: skip
    """Write a new template, to be changed."""
    from vmkit.provision.importing import new_template
    from vmkit.vm.reference import check_vm_name

    check_vm_name(name)
    found = _catalog(template_dir).find(based_on)
    path = _write(folder / f"{name}.yaml", new_template(name, based_on=_read_text(Path(found.where))), force=force)
    app.console.report(f"{path} written, from {found.name}")
    app.console.note(f"next: change it, then vmkit template lint {path}")


@template.command("import")
@argument("file", metavar="FILE")
@option("--name", default="", metavar="NAME", help="The template's name; by default that of the object.")
@option(
    "--folder",
    type=_PATH,
    default=None,
    metavar="FOLDER",
    help="Write NAME.yaml there; by default the template goes to stdout.",
)
@option("--force", is_flag=True, help="Write over a file that is there.")
@pass_app
def import_(app: App, file: str, *, name: str, folder: Path | None, force: bool) -> None:  # fmt: skip
    """Make a template of a VM's manifest, a VirtualMachineTemplate, or an OpenShift Template.

    \b
    kubectl get vm web-1 -o yaml | vmkit template import - --folder templates
    """
    from vmkit.provision.importing import import_manifest
    from vmkit.provision.yamlread import read_documents

    text = app.console.stdin.read() if file == "-" else _read_text(Path(file))
    documents = read_documents(text, where=file)
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise UsageError(f"{file} holds {len(documents)} objects", hint="give a file with one", where=file)
    imported = import_manifest(documents[0].value, where=file, name=name)
    if folder is None:
        app.console.data(imported.text)
    else:
        path = _write(folder / f"{imported.name}.yaml", imported.text, force=force)
        app.console.report(f"{path} written")
    app.say((), imported.notices)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text", where=str(path)) from None
    except OSError as problem:
        raise UsageError(f"{path} cannot be read: {problem.strerror}", where=str(path)) from None


def _write(path: Path, text: str, *, force: bool) -> Path:
    if path.exists() and not force:
        raise UsageError(f"{path} is there already", hint="--force writes over it", where=str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise UsageError(f"{path} cannot be written: {problem.strerror}", where=str(path)) from None
    return path
