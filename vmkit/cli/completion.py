"""Shell completion: the scripts, and the names that only a cluster or a folder knows.

A shell asks while somebody waits with a finger on the key: it gets an answer within two seconds, or none, and
never an error.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem, get_completion_class

from vmkit.cli.options import command, pass_app

if TYPE_CHECKING:
    from vmkit.api import Vmkit
    from vmkit.cli.app import App

SECONDS_ALLOWED: Final = 2.0
_MOST: Final = 500
"""No shell shows more, and a fleet's list would be slow."""


@command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@pass_app
def completion(app: App, shell: str) -> None:
    """Write the completion script of a shell.

    \b
    bash:  vmkit completion bash > ~/.local/share/bash-completion/completions/vmkit
    zsh:   vmkit completion zsh > "${fpath[1]}/_vmkit"
    fish:  vmkit completion fish > ~/.config/fish/completions/vmkit.fish
    """
    from vmkit.cli.main import cli

    found = get_completion_class(shell)
    assert found is not None
    # source() alone: the shell's own class checks bash's version by running bash, which a build machine may lack.
    script = found(cli, {}, "vmkit", "_VMKIT_COMPLETE")
    app.console.data(script.source_template % script.source_vars())


def _within_time(find: Callable[[], Iterable[str]]) -> list[str]:
    """What `find` yields in the time allowed; nothing when it fails or is late."""
    found: list[str] = []

    def collect() -> None:
        try:
            for name in find():
                found.append(name)
                if len(found) >= _MOST:
                    return
        except Exception:  # noqa: BLE001 - a shell must never be shown an error for a press of Tab
            return

    # A daemon: a request that hangs must not keep the process alive.
    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(SECONDS_ALLOWED)
    return list(found)


def _connect(ctx: click.Context) -> Vmkit:
    from vmkit.api import Vmkit

    chosen = _chosen(ctx)
    return Vmkit.connect(
        kubeconfig=chosen["kubeconfig"],
        context=chosen["context"],
        namespace=chosen["namespace"],
        request_timeout_seconds=SECONDS_ALLOWED,
    )


def _chosen(ctx: click.Context) -> dict[str, str | None]:
    """The connection options of the line so far, else of the environment."""
    from vmkit.cli.app import App

    app = ctx.find_root().obj
    values = {
        name: getattr(app.connection, name) if isinstance(app, App) else None
        for name in ("kubeconfig", "context", "namespace")
    }
    return {name: value or os.environ.get(f"VMKIT_{name.upper()}") or None for name, value in values.items()}


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(set(names)) if name.startswith(incomplete)]


def find_namespaces(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Namespaces of the cluster that the line so far names."""

    def find() -> Iterable[str]:
        with _connect(ctx) as vk:
            yield from vk.namespaces()

    return _items(_within_time(find), incomplete)


def find_vms(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """VMs in the namespace that the line so far names, those left out that it has already."""

    def find() -> Iterable[str]:
        with _connect(ctx) as vk:
            yield from vk.vm_names()

    taken: Any = ctx.params.get("names") or ()
    return _items((name for name in _within_time(find) if name not in taken), incomplete)


def find_templates(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Templates in the folders that the line so far names."""

    def find() -> Iterable[str]:
        from vmkit.provision.catalog import Catalog

        folder = ctx.params.get("template_dir") or ctx.params.get("directory")
        folders = folder if isinstance(folder, (list, tuple)) else [folder] if folder else []
        yield from Catalog([str(each) for each in folders]).names()

    return _items(_within_time(find), incomplete)
