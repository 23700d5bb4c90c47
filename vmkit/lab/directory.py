"""Where running labs write themselves down, so that commands in other terminals find them by name.

One file a lab, readable by its user alone: ``NAME.json`` beside ``NAME.kubeconfig``, in ``$VMKIT_LAB_DIR``, else
``$XDG_STATE_HOME/vmkit/labs``, else ``~/.local/state/vmkit/labs``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import msgspec

from vmkit.errors import InvalidName
from vmkit.lab.kubeconfig import write_private

DEFAULT_NAME: Final = "lab"
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class LabRecord:
    """A running lab: where it listens, how to get in, and which process it is."""

    name: str
    url: str
    kubeconfig: str
    pid: int


def labs_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory of the records."""
    if own := environ.get("VMKIT_LAB_DIR"):
        return Path(own)
    state = environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "vmkit" / "labs"


def check_name(name: str) -> str:
    """The name of a lab, if it can be one.

    Raises:
        InvalidName: it is no DNS label.
    """
    if not _NAME.fullmatch(name):
        raise InvalidName(
            f"{name!r} cannot be the name of a lab", hint="use lower-case letters, digits and dashes, at most 63"
        )
    return name


def default_kubeconfig(name: str) -> Path:
    """Where a lab's kubeconfig goes unless it is said."""
    return labs_directory() / f"{name}.kubeconfig"


def write_record(record: LabRecord) -> None:
    """Writes a lab down."""
    write_private(_path(record.name), msgspec.json.encode(asdict(record)) + b"\n")


def read_record(name: str) -> LabRecord | None:
    """The lab of a name as it was written down, whether or not it still runs; None if there is none."""
    try:
        return msgspec.json.decode(_path(name).read_bytes(), type=LabRecord)
    except (OSError, msgspec.MsgspecError):
        return None


def read_records() -> list[LabRecord]:
    """Every lab written down, by name."""
    records = (read_record(path.stem) for path in sorted(labs_directory().glob("*.json")))
    return [record for record in records if record is not None]


def remove_record(record: LabRecord) -> None:
    """Forgets a lab, unless another of its name has been written down since."""
    current = read_record(record.name)
    if current == record:
        _path(record.name).unlink(missing_ok=True)


def _path(name: str) -> Path:
    return labs_directory() / f"{check_name(name)}.json"
