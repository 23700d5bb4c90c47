"""Finding templates: in directories given, in the project, in the user's folder, among those vmkit brings."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vmkit.errors import TemplateError, VmkitError
from vmkit.provision.loader import read_template
from vmkit.provision.model import Template

SUFFIXES: Final = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One template file of a catalog.

    Attributes:
        name: what ``-t`` takes: the file's name without its suffix.
        path: the file.
        origin: "given", "project", "user" or "shipped".
        shadowed: whether another of that name comes first.
    """

    name: str
    path: Path
    origin: str
    shadowed: bool


class Catalog:
    """The templates there are, the first of a name winning.

    Args:
        directories: given ones, searched first; each has to exist.
        project: the directory whose ``templates/`` is the project's; the current one by default.
        user: the user's folder; ``$XDG_CONFIG_HOME/vmkit/templates`` by default.

    Raises:
        TemplateError: a directory given does not exist.
    """

    def __init__(
        self, directories: Sequence[Path | str] = (), *, project: Path | None = None, user: Path | None = None
    ) -> None:
        for directory in directories:
            if not Path(directory).is_dir():
                raise TemplateError(f"there is no directory {directory}", where=str(directory))
        self._places: list[tuple[str, Path]] = [
            *(("given", Path(directory)) for directory in directories),
            ("project", (project or Path()) / "templates"),
            ("user", user or _user_directory()),
            ("shipped", shipped_directory()),
        ]

    def entries(self) -> list[CatalogEntry]:
        """Every template file, in the order of the search, by name within a place."""
        entries: list[CatalogEntry] = []
        names: set[str] = set()
        paths: set[Path] = set()
        shipped = shipped_directory().resolve()
        for origin, directory in self._places:
            if not directory.is_dir():
                continue
            for path in sorted(directory.iterdir()):
                resolved = path.resolve()
                if path.suffix not in SUFFIXES or not path.is_file() or resolved in paths:
                    continue
                # In vmkit's own checkout the project's templates are those that it brings.
                own = "shipped" if resolved.parent == shipped else origin
                entries.append(CatalogEntry(path.stem, path, own, path.stem in names))
                names.add(path.stem)
                paths.add(resolved)
        return entries

    def read_all(self) -> tuple[list[Template], list[VmkitError]]:
        """All templates that are not shadowed, by name, and the errors of the files that are none."""
        templates: list[Template] = []
        errors: list[VmkitError] = []
        for entry in self.entries():
            if entry.shadowed:
                continue
            try:
                templates.append(read_template(entry.path, origin=entry.origin))
            except TemplateError as error:
                errors.append(error)
        return sorted(templates, key=lambda template: template.name), errors

    def names(self) -> list[str]:
        """The names ``-t`` takes, sorted; reads no file."""
        return sorted({entry.name for entry in self.entries()})

    def find(self, name: str) -> Template:
        """The template of that name, or the template file at that path.

        A text with a slash or a suffix is a path, anything else a name.

        Raises:
            TemplateError: there is none, or it is none.
        """
        if "/" in name or name.endswith(SUFFIXES):
            return read_template(Path(name))
        for entry in self.entries():
            if entry.name == name:
                return read_template(entry.path, origin=entry.origin)
        names = self.names()
        close = difflib.get_close_matches(name, names, 1)
        raise TemplateError(
            f"there is no template {name!r}",
            hint=f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}",
            where=name,
        )


def shipped_directory() -> Path:
    """Where the templates that come with vmkit lie: in the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


def _user_directory() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    try:
        return Path(base).expanduser() / "vmkit" / "templates"
    except RuntimeError:  # no home directory
        return Path("/nonexistent")
