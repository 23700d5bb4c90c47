"""Manifests as files, for people who keep them in Git."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from vmkit.errors import ConfigError
from vmkit.plan.model import Outcome, Reason, Status
from vmkit.provision.preparing import Prepared, ref_of
from vmkit.provision.secrecy import mask_manifest
from vmkit.provision.yamlwrite import write_documents

_FILL_IN: Final = "(fill in)"
_STUB: Final = (
    "# A stub: vmkit left the values out. Fill them in, better still seal or encrypt them, before this is\n"
    "# applied; vmkit keeps a file of this name as it is.\n"
)


def write_files(
    directory: Path, prepared: Sequence[Prepared], *, show_secrets: bool, verb: str
) -> tuple[Outcome, ...]:
    """Writes each VM's objects to DIRECTORY/NAMESPACE/NAME.yaml, its Secrets to NAME.secrets.yaml beside it.

    Secrets are written as stubs, unless ``show_secrets``; a stub that is there already is kept.

    Raises:
        ConfigError: the directory cannot be written.
    """
    return tuple(_write_one(directory, item, show_secrets=show_secrets, verb=verb) for item in prepared)


def _write_one(directory: Path, item: Prepared, *, show_secrets: bool, verb: str) -> Outcome:
    target = item.target
    path = directory / (target.namespace or "cluster") / f"{target.name}.yaml"
    others = {ref_of(manifest): manifest for manifest in item.masked or item.manifests}
    shown = [
        manifest if show_secrets else _stub(manifest, others.get(ref_of(manifest), {}))
        for manifest in item.manifests
    ]
    secrets = [manifest for manifest in shown if manifest["kind"] == "Secret"]
    rest = [manifest for manifest in shown if manifest["kind"] != "Secret"]
    changed = False
    files: list[str] = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if secrets:
            beside = path.with_suffix(".secrets.yaml")
            files.append(str(beside))
            if show_secrets:
                changed |= _put(beside, write_documents(secrets), private=True)
            elif not beside.exists():
                changed |= _put(beside, _STUB + write_documents(secrets))
        if rest:
            files.insert(0, str(path))
            changed |= _put(path, write_documents(rest))
    except OSError as problem:
        raise ConfigError(f"{path} cannot be written: {problem.strerror}", where=str(directory)) from None
    reason = Reason("Written" if changed else "Equal", f"written to {path}" if changed else f"{path} is as it was")
    status = Status.CHANGED if changed else Status.UNCHANGED
    return Outcome(target, verb, status, reason, detail={"files": files})


def _stub(manifest: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    masked = mask_manifest(manifest, other)
    if masked["kind"] == "Secret":
        keys: Iterable[str] = masked.pop("data", {})
        masked["stringData"] = dict.fromkeys(keys, _FILL_IN)
    return masked


def _put(path: Path, text: str, *, private: bool = False) -> bool:
    """Writes a file if its text is another; says whether it did."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    # Beside, then renamed: a run that is killed leaves no half file.
    beside = path.with_name(f".{path.name}.new")
    beside.touch(mode=0o600 if private else 0o644)
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
    return True
