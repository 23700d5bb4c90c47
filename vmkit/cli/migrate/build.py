"""``vmkit migrate build`` and ``push``: components out of their sources, and images into a registry."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from vmkit.cli.app import App
from vmkit.cli.migrate.group import migrate
from vmkit.cli.options import argument, click_choice, option, pass_app
from vmkit.errors import ExitCode, ManifestError, UsageError

REGISTRY = "Registry"


@migrate.command("build")
@argument("folder", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False, exists=True))
@option(
    "--max-seconds",
    type=click.FloatRange(min=1),
    default=600.0,
    show_default=True,
    help="Stop building a component that takes longer.",
)
@pass_app
def build(app: App, *, folder: Path, max_seconds: float) -> ExitCode:
    """Build the components of a folder that generate wrote.

    The application is imported while its component is built, inside a wasm sandbox without files and network.
    Needs componentize-py: pip install 'vmkit[wasm]'.

    \b
    vmkit migrate build ./old-web
    vmkit migrate build ./old-web/greeter/wasm
    """
    from vmkit.errors import EvidenceError
    from vmkit.migrate.generate.component import RECIPE, SOURCES, read_recipe
    from vmkit.migrate.wasm.component import build_component
    from vmkit.migrate.wasm.spin import COMPONENT

    recipes = sorted({*folder.glob(RECIPE), *folder.glob(f"*/{RECIPE}"), *folder.glob(f"*/wasm/{RECIPE}")})
    if not recipes:
        raise ManifestError(
            "there is no component to build in it",
            hint="vmkit migrate generate writes such folders",
            where=str(folder),
        )
    failed = False
    for path in recipes:
        recipe = read_recipe(path)
        try:
            made = build_component(
                path.parent / SOURCES,
                path.parent / COMPONENT,
                entry_point=recipe.entry_point,
                environment=recipe.environment,
                secrets=recipe.secrets,
                timeout_seconds=max_seconds,
            )
        except EvidenceError as error:
            if error.code == "MissingTool":
                raise
            failed = True
            app.console.error(error)
            continue
        app.console.report(f"{made.path} ({made.size_bytes / 2**20:.1f} MiB)")
    return ExitCode.SOME_FAILED if failed else ExitCode.OK


@migrate.command("push")
@argument("source", metavar="SOURCE", type=click.Path(path_type=Path, exists=True))
@argument("name", metavar="IMAGE")
@option(
    "--as",
    "kind",
    type=click_choice(["spin", "component"]),
    default="spin",
    show_default=True,
    help="A component as spin registry push does it, or alone, as wkg and wasmCloud do.",
)
@option(
    "--ca-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    heading=REGISTRY,
    help="Certificates to trust instead of the system's.",
)
@option(
    "--plain-http", is_flag=True, heading=REGISTRY, help="Without TLS; the default for this machine's loopback."
)
@option("--skip-tls-verify", is_flag=True, heading=REGISTRY, help="Believe whoever answers.")
@pass_app
def push(
    app: App,
    *,
    source: Path,
    name: str,
    kind: str,
    ca_file: Path | None,
    plain_http: bool,
    skip_tls_verify: bool,
) -> ExitCode:
    """Push an image or a component to a registry.

    SOURCE is an OCI layout (what generate --image frozen wrote), or the folder of a built component. Credentials
    are those of docker login and podman login, with their helpers. What is there already is not sent again, and
    an interrupted upload goes on where it stopped.

    \b
    vmkit migrate push ./old-web/notes/image registry.example/old-web/notes:latest
    vmkit migrate push ./old-web/greeter/wasm registry.example/old-web/greeter-wasm:latest
    """
    from vmkit.migrate.oci.layout import read_layout
    from vmkit.migrate.registry.client import Registry
    from vmkit.migrate.registry.credentials import find_credentials
    from vmkit.migrate.registry.reference import parse_reference
    from vmkit.migrate.registry.transfer import push_layout

    reference = parse_reference(name)
    if plain_http and (ca_file or skip_tls_verify):
        raise UsageError("--plain-http has no certificates to look at", hint="leave out the other option")
    plain = plain_http or (reference.is_loopback and ca_file is None and not skip_tls_verify)
    registry = Registry(
        reference,
        credentials=find_credentials(reference.host),
        ca_file=ca_file,
        plain_http=plain,
        skip_verify=skip_tls_verify,
    )
    with tempfile.TemporaryDirectory(prefix="vmkit-push-") as scratch:
        folder = source if (source / "index.json").is_file() else _package(source, Path(scratch) / "layout", kind)
        try:
            done = push_layout(read_layout(folder), registry)
        finally:
            registry.close()
    app.console.report(f"{reference.host}/{reference.repository}@{done.digest}")
    app.console.note(f"{done.uploaded} blobs sent, {done.present} were there already")
    return ExitCode.OK


def _package(source: Path, target: Path, kind: str) -> Path:
    from vmkit.migrate.wasm.package import write_component_layout, write_spin_layout
    from vmkit.migrate.wasm.spin import COMPONENT, read_spin_toml

    component = source / COMPONENT
    if not component.is_file():
        raise ManifestError(
            "holds neither an OCI layout nor a built component",
            hint=f"vmkit migrate build {source} builds it",
            where=str(source),
        )
    app = read_spin_toml(source / "spin.toml")
    if kind == "spin":
        write_spin_layout(component, app, target)
    else:
        write_component_layout(component, target, name=app.name)
    return target
