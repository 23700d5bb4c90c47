"""``vmkit create`` and ``vmkit clone``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vmkit.cli.app import App
from vmkit.cli.options import (
    OUTPUT,
    SAFETY,
    argument,
    command,
    complete_templates,
    complete_vms,
    concurrency_option,
    connection_options,
    dry_run_option,
    max_changes_option,
    option,
    output_option,
    pass_app,
    waiting_options,
    yes_option,
)
from vmkit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from vmkit.plan.model import ObjectRef, Outcome, Plan
    from vmkit.provision.options import CreateResult
    from vmkit.provision.progress import Progress

F = TypeVar("F", bound=Callable[..., Any])

_PATH = click.Path(path_type=Path)


def _run_options(function: F) -> F:
    """What create and clone share."""
    for decorate in (
        connection_options,
        option("--show-secrets", is_flag=True, heading=OUTPUT, help="Show secrets instead of leaving them out."),
        option("--diff", is_flag=True, heading=OUTPUT, help="Write what would change, or has changed, as a diff."),
        output_option(
            help_text="How to write the result; yaml writes the manifests, by default one line for each VM."
        ),
        waiting_options,
        concurrency_option,
        option("--ignore-storage-health", is_flag=True, heading=SAFETY,
               help="Go on although the storage is in error or would be too full."),
        option("--force-conflicts", is_flag=True, heading=SAFETY,
               help="Take over fields that somebody else manages."),
        option("--update", is_flag=True, heading=SAFETY,
               help="Change VMs that exist and differ. Never starts or stops one."),
        max_changes_option,
        yes_option,
        dry_run_option,
        option("--output-dir", type=_PATH, metavar="FOLDER", heading=OUTPUT,
               help="Write the manifests there, for Git, instead of creating anything. Secrets become stubs."),
    ):  # fmt: skip
        function = decorate(function)
    return function


def read_pairs(texts: tuple[str, ...], *, where: str, example: str) -> dict[str, str]:
    """KEY=VALUE texts as a mapping.

    Raises:
        UsageError: one has no "=", or a key stands there twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"{where} {text!r} is not KEY=VALUE", hint=f"write {where} {example}", where=where)
        if key in pairs:
            raise UsageError(f"{where} gives {key!r} twice", hint=f"keep one of {where} {key}=...", where=where)
        pairs[key] = value
    return pairs


def read_answer_files(app: App, texts: tuple[str, ...]) -> dict[str, str]:
    """KEY=FILE texts as a mapping to what the files hold, one line break at the end taken off; "-" is stdin."""
    answers: dict[str, str] = {}
    for key, name in read_pairs(texts, where="--set-file", example="password=./password").items():
        text = app.console.stdin.read() if name == "-" else _read(name, "--set-file")
        answers[key] = text.removesuffix("\n")
    return answers


def _read(name: str, where: str) -> str:
    path = Path(name).expanduser()
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{where}: {name} is not UTF-8 text", hint="give a text file", where=where) from None
    except OSError as problem:
        raise UsageError(
            f"{where}: {name} cannot be read: {problem.strerror}",
            hint="give the path of a file that you may read",
            where=where,
        ) from None


def read_ssh_keys(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The public keys that options name: each a file of keys, or a key itself."""
    keys: list[str] = []
    for text in texts:
        content = (
            text if " " in text.strip() and not Path(text).expanduser().exists() else _read(text, "--ssh-key")
        )
        if "PRIVATE KEY" in content:
            raise UsageError(f"--ssh-key: {text} holds a private key", hint="give the file that ends in .pub")
        lines = [line.strip() for line in content.splitlines()]
        found = [line for line in lines if line and not line.startswith("#")]
        if not found:
            raise UsageError(f"--ssh-key: {text} holds no key", where="--ssh-key")
        keys += found
    return tuple(keys)


@command("create")
@argument("names", nargs=-1, metavar="[NAME]...")
@option(
    "-t",
    "--template",
    metavar="TEMPLATE",
    shell_complete=complete_templates,
    help="The template: its name, or the path of a template file.",
)
@option("--set", "set_", multiple=True, metavar="KEY=VALUE", help="An answer to a parameter of the template.")
@option(
    "--set-file",
    multiple=True,
    metavar="KEY=FILE",
    help='An answer from a file, so that no secret stands in the shell\'s history; "-" is stdin.',
)
@option(
    "--disk",
    "disks",
    multiple=True,
    metavar="NAME=SIZE",
    help="The size of a disk; a disk the template does not have is added blank.",
)
@option("--ssh-key", "ssh_keys", multiple=True, metavar="FILE", help="A public key that may log in.")
@option("--count", type=int, default=1, metavar="N", help='So many VMs: "web" gives web-1, web-2 ...')
@option(
    "-f", "--file", "fleet", type=_PATH, metavar="FLEET", help="A fleet file: many VMs, each with its answers."
)
@option(
    "--storage",
    default="auto",
    metavar="CLASS",
    show_default=True,
    help='The storage class; "auto" finds the one for VMs and says why.',
)
@option(
    "--instancetype", default="", metavar="NAME", help="CPU and memory by an instancetype, not by the template."
)
@option("--preference", default="", metavar="NAME", help="The preference for the guest's system.")
@option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A further label of the VMs.")
@option(
    "--template-dir",
    multiple=True,
    type=_PATH,
    metavar="FOLDER",
    everywhere=True,
    help="Where to look for templates first.",
)
@_run_options
@pass_app
def create(
    app: App,
    names: tuple[str, ...],
    *,
    template: str | None,
    set_: tuple[str, ...],
    set_file: tuple[str, ...],
    disks: tuple[str, ...],
    ssh_keys: tuple[str, ...],
    count: int,
    fleet: Path | None,
    storage: str,
    instancetype: str,
    preference: str,
    labels: tuple[str, ...],
    template_dir: tuple[Path, ...],
    **options: Any,
) -> ExitCode:  # fmt: skip
    """Create VMs from a template.

    A VM that exists as asked for is left as it is; one that differs is refused with the difference, unless
    --update is given. Neither is ever started or stopped by this. A run that was interrupted is completed by
    running it again.

    \b
    vmkit create web-1 -t debian --set cpu=4 --disk data=100Gi --ssh-key ~/.ssh/id_ed25519.pub --wait
    vmkit create web -t web-server --count 50
    vmkit create -f fleet.yaml --dry-run server
    """
    if names and not template:
        raise UsageError("which template?", hint="vmkit create NAME -t TEMPLATE; vmkit template list shows them")
    if template and not names:
        raise UsageError("which VM?", hint="vmkit create NAME -t TEMPLATE")
    if not names and fleet is None:
        raise UsageError("no VM is asked for", hint="vmkit create NAME -t TEMPLATE, or vmkit create -f FLEET")
    if template:
        from vmkit.provision.catalog import Catalog

        # A misspelt template is told before any cluster is looked for.
        Catalog(template_dir).find(template)
    answers: dict[str, str] = read_pairs(set_, where="--set", example="cpu=4")
    from_files = read_answer_files(app, set_file)
    twice = sorted(set(answers) & set(from_files))
    if twice:
        raise UsageError(
            f"{twice[0]!r} is given by --set and by --set-file", hint="keep one of them", where="--set-file"
        )
    asked: dict[str, Any] = {
        "template": template or "",
        "set": {**answers, **from_files},
        "disks": read_pairs(disks, where="--disk", example="data=100Gi"),
        "ssh_keys": read_ssh_keys(ssh_keys),
        "count": count,
        "fleet": fleet,
        "storage": storage,
        "instancetype": instancetype,
        "preference": preference,
        "labels": read_pairs(labels, where="--label", example="team=web"),
        "template_dirs": template_dir,
    }
    if not names:
        unused = [
            name for name in ("set", "disks", "ssh_keys", "labels", "instancetype", "preference") if asked[name]
        ]
        if unused or count != 1:
            raise UsageError(
                "with -f alone, answers, disks, keys and sizes stand in the fleet file",
                hint="put them under its defaults",
            )
    return _run(app, "create", lambda vk, more: vk.create(*names, **asked, **more), **options)


@command("clone")
@argument("source", shell_complete=complete_vms, metavar="SOURCE")
@argument("name", metavar="NAME")
@option("--count", type=int, default=1, metavar="N", help='So many clones: "web" gives web-1, web-2 ...')
@option(
    "--to-namespace", default="", metavar="NAMESPACE", help="Where the clones go; by default beside the source."
)
@option(
    "--run-strategy",
    default="",
    metavar="STRATEGY",
    type=click.Choice(["Always", "Manual", "RerunOnFailure", "Halted", "Once", ""]),
    show_choices=False,
    help="When the clones run; by default as the source. Halted lets you change them before they boot.",
)
@_run_options
@pass_app
def clone(
    app: App, source: str, name: str, *, count: int, to_namespace: str, run_strategy: str, **options: Any
) -> ExitCode:  # fmt: skip
    """Create VMs as copies of an existing one.

    The storage copies the disks. A running VM's disks are copied from snapshots, as after a power cut; without
    snapshots, stop it first.

    \b
    vmkit clone web-1 web-2 --run-strategy Halted
    vmkit clone golden test --count 5 --to-namespace tests
    """
    return _run(
        app, "clone",
        lambda vk, more: vk.clone(
            source, name, namespace=to_namespace, count=count, run_strategy=run_strategy, **more
        ),
        **options,
    )  # fmt: skip


def _run(
    app: App,
    verb: str,
    call: Callable[[Any, dict[str, Any]], CreateResult],
    *,
    output: str | None,
    diff: bool,
    yes: bool,
    wait: bool,
    timeout: timedelta | None,
    concurrency: int,
    **options: Any,
) -> ExitCode:
    """Runs it, and shows what came of it."""
    from vmkit.plan.model import Status

    write = app.outcome_writer(output)
    consent = app.confirmer(yes=yes, by_name=True)
    with app.connect(connections=concurrency) as vk, app.console.progress(verb) as progress:
        total = 0

        def confirm(plan: Plan) -> None:
            nonlocal total
            consent(plan)
            total = len(plan)
            progress.update(total=100 if wait and total == 1 else total)

        def on_outcome(outcome: Outcome) -> None:
            if diff:
                _show_diff(app, outcome, output)
            elif outcome.status is Status.REFUSED:
                _note_diff(app, outcome)
            write(outcome)
            if outcome.status is not Status.UNCHANGED:
                progress.advance()

        def on_progress(target: ObjectRef, how: Progress) -> None:
            done = round(how.fraction * 100) if total == 1 and how.fraction is not None else None
            progress.update(done=done, text=f"{target.path}: {how.text}")

        more: dict[str, Any] = {
            **options, "diff": diff, "wait": wait, "concurrency": concurrency,
            "manifests": output in {"yaml", "json"},
            "confirm": confirm, "on_outcome": on_outcome, "on_progress": on_progress,
        }  # fmt: skip
        if timeout is not None:
            more["timeout_seconds"] = timeout.total_seconds()
        result = call(vk, more)
    for remark in result.remarks:
        app.console.note(remark)
    if output == "yaml":
        from vmkit.report.documents import render_yaml_documents

        app.console.data(render_yaml_documents(result.manifests))
        return app.show(result, output=None)
    return app.show(result, output=output)


def _show_diff(app: App, outcome: Outcome, output: str | None) -> None:
    from vmkit.errors import Drifted
    from vmkit.report.text import escape_lines

    text = outcome.error.diff if isinstance(outcome.error, Drifted) else str(outcome.detail.get("diff", ""))
    if text and output is None:
        app.console.report_document(escape_lines(text))


def _note_diff(app: App, outcome: Outcome) -> None:
    from vmkit.errors import Drifted

    if isinstance(outcome.error, Drifted):
        for line in outcome.error.diff.splitlines():
            app.console.note(line)
