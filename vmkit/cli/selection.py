"""Which VMs a command means: names, a selector, everything, a file of names or manifests, or stdin."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from vmkit.cli.options import SELECTION, argument, complete_vms, option
from vmkit.errors import ConfigError, ManifestError, UsageError
from vmkit.vm.reference import VmRef, parse_vm_ref
from vmkit.vm.selector import check_selector

F = TypeVar("F", bound=Callable[..., Any])

_RESOURCE: Final = "virtualmachine.kubevirt.io/"
_MOST_CHARACTERS: Final = 64 * 2**20
"""A file of names larger than this is none."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the options said; `names_in` completes it with what files and stdin hold."""

    names: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    selector: str = ""
    all_namespaces: bool = False
    everything: bool = False

    @property
    def by_name(self) -> bool:
        """Whether every VM was named one by one."""
        return bool(self.names or self.files)

    def refs(self, *, namespace: str, stdin: Callable[[], str]) -> tuple[VmRef, ...]:
        """The VMs that were named, in order, each once; empty for a selection by selector or of everything.

        Args:
            namespace: the namespace of names without one.
            stdin: reads all of stdin; called once at most, for "-".

        Raises:
            InputError: a name that is none, a file that cannot be read, two ways to choose at once.
        """
        texts = list(self.names)
        refs: list[VmRef] = []
        files = list(self.files)
        if "-" in texts:
            texts = [text for text in texts if text != "-"]
            files.append("-")
        refs += [parse_vm_ref(text.removeprefix(_RESOURCE), default_namespace=namespace) for text in texts]
        for file in dict.fromkeys(files):
            where = "standard input" if file == "-" else file
            found = parse_names(stdin() if file == "-" else _read(file), where=where, default_namespace=namespace)
            if not found:
                raise UsageError(f"{where} names no VM", hint="write one name a line, or give manifests")
            refs += found
        return tuple(dict.fromkeys(refs))

    def check(self, *, may_be_empty: bool) -> None:
        """Refuses contradictions, and a command that names nothing.

        Raises:
            UsageError: it does.
        """
        if self.by_name and (self.selector or self.everything or self.all_namespaces):
            given = "--selector" if self.selector else "--all" if self.everything else "--all-namespaces"
            raise UsageError(f"give names or {given}, not both", hint="VMs are chosen in one way at a time")
        if self.everything and self.selector:
            raise UsageError("give --selector or --all, not both", hint="--all takes VMs of any labels")
        chosen = self.by_name or self.selector or self.everything or self.all_namespaces
        if not chosen and not may_be_empty:
            raise UsageError(
                "no VM is named",
                hint="give names, -l SELECTOR, -f FILE, --all for a whole namespace, or -A for all namespaces",
            )


def selection_options(*, everything: bool = True) -> Callable[[F], F]:
    """NAME..., -l, -A, -f and --all; the command gets one `Chosen` as ``chosen``.

    Args:
        everything: offer --all; commands that only look take everything when nothing is named.
    """

    def decorate(function: F) -> F:
        from functools import wraps

        @wraps(function)
        def gathered(
            *args: Any,
            names: tuple[str, ...],
            files: tuple[str, ...],
            selector: str | None,
            all_namespaces: bool,
            every: bool = False,
            **kwargs: Any,
        ) -> Any:
            if selector:
                check_selector(selector)
            chosen = Chosen(names, files, selector or "", all_namespaces, every)
            return function(*args, chosen=chosen, **kwargs)

        decorated: Any = gathered
        if everything:
            decorated = option(
                "--all", "every", is_flag=True, heading=SELECTION, help="Every VM of the namespace."
            )(decorated)
        decorated = option(
            "-A",
            "--all-namespaces",
            is_flag=True,
            heading=SELECTION,
            help="In all namespaces: every VM, or with -l those that match.",
        )(decorated)
        decorated = option(
            "-l",
            "--selector",
            metavar="SELECTOR",
            heading=SELECTION,
            help='VMs whose labels match, as "app=web,tier!=test".',
        )(decorated)
        decorated = option(
            "-f",
            "--file",
            "files",
            multiple=True,
            metavar="FILE",
            heading=SELECTION,
            help='VMs named in a file: one name a line, manifests, or a result of "-o json"; "-" is stdin.',
        )(decorated)
        named: F = argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_vms)(decorated)
        return named

    return decorate


def read_stdin() -> str:
    """All of stdin.

    Raises:
        UsageError: somebody sits at the terminal, and would wonder why nothing happens.
    """
    if sys.stdin.isatty():
        raise UsageError('"-" reads names from stdin, and stdin is this terminal', hint="pipe names into it")
    return sys.stdin.read(_MOST_CHARACTERS)


def _read(file: str) -> str:
    try:
        with Path(file).open(encoding="utf-8") as opened:
            return opened.read(_MOST_CHARACTERS)
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file} is no text in UTF-8", hint="write one name a line, or give manifests", where=file
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror}",
            hint="give the path of a file that you may read",
            where=file,
        ) from error


def parse_names(text: str, *, where: str, default_namespace: str) -> tuple[VmRef, ...]:
    """The VMs a text names: lines of names, manifests in YAML or JSON, lists of them, or a vmkit envelope.

    Names are written "name", "namespace/name" or as ``-o name`` writes them; "#" begins a comment.

    Raises:
        InvalidName: a line that names no VM.
        ManifestError: a manifest that is none, or of another kind than VirtualMachine.
    """
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    # A colon stands in every manifest and in no name.
    if not any(":" in line for line in lines):
        return tuple(
            parse_vm_ref(line.removeprefix(_RESOURCE), default_namespace=default_namespace)
            for line in lines
            if line
        )
    return tuple(
        _ref_of(manifest, where=where, default_namespace=default_namespace)
        for document in _documents(text, where)
        for manifest in _manifests(document, where)
    )


def _documents(text: str, where: str) -> Sequence[Any]:
    if text.lstrip().startswith("{"):
        import msgspec

        try:
            return [msgspec.json.decode(text)]
        except msgspec.DecodeError:
            pass  # several JSON documents, or YAML in braces: the YAML reader says where it breaks
    from vmkit.provision.yamlread import read_documents

    return [document.value for document in read_documents(text, where=where)]


def _manifests(document: Any, where: str) -> Iterator[Mapping[str, Any]]:
    entries = document if isinstance(document, list) else [document]
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise ManifestError(f"{where} holds something that is no manifest", where=where)
        items = entry.get("items")
        if (isinstance(items, list) and "metadata" not in entry) or re.search("List$", str(entry.get("kind"))):
            yield from _manifests(items if isinstance(items, list) else [], where)
        else:
            yield entry


def _ref_of(manifest: Mapping[str, Any], *, where: str, default_namespace: str) -> VmRef:
    kind = manifest.get("kind", "VirtualMachine")
    if kind != "VirtualMachine":
        raise ManifestError(
            f"{where} holds a {kind}, and this command takes VMs",
            hint="leave it out, or name the VMs",
            where=where,
        )
    # A row of vmkit's own envelope has its name at the top, a manifest in its metadata.
    metadata = manifest.get("metadata", manifest)
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    namespace = metadata.get("namespace") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not name:
        raise ManifestError(f"{where} holds a manifest without metadata.name", where=where)
    path = f"{namespace}/{name}" if isinstance(namespace, str) and namespace else name
    return parse_vm_ref(path, default_namespace=default_namespace)
