"""Keeping secrets out of what people see: in manifests, diffs and errors. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from vmkit.errors import ClusterError, VmkitError
from vmkit.provision.walk import as_mapping, as_text, dig

LEFT_OUT: Final = "(left out)"
_PARTS: Final = ("data", "stringData")


def encode_secret(manifest: dict[str, Any]) -> dict[str, Any]:
    """A Secret with ``stringData`` written as ``data``, as the server keeps it; any other object as it is."""
    texts = manifest.get("stringData")
    if manifest["kind"] != "Secret" or not isinstance(texts, Mapping):
        return manifest
    data = dict(as_mapping(manifest.get("data")))
    data.update({key: base64.b64encode(str(value).encode()).decode() for key, value in texts.items()})
    return {**{key: value for key, value in manifest.items() if key != "stringData"}, "data": data}


def mask_manifest(manifest: Mapping[str, Any], other: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The manifest without the data of Secrets and without anything that came from a secret answer.

    Args:
        other: the same manifest rendered with other secrets: what differs came from one, however it was changed
            on the way.
    """
    masked = _mask_differing(manifest, manifest if other is None else other)
    assert isinstance(masked, dict)
    if masked.get("kind") == "Secret":
        for part in _PARTS:
            if isinstance(masked.get(part), Mapping):
                masked[part] = dict.fromkeys(masked[part], LEFT_OUT)
    return masked


def _mask_differing(value: Any, other: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return {
            key: _mask_differing(item, other[key]) if key in other else LEFT_OUT for key, item in value.items()
        }
    if isinstance(value, list) and isinstance(other, list) and len(value) == len(other):
        return [_mask_differing(one, two) for one, two in zip(value, other, strict=True)]
    return value if value == other else LEFT_OUT


def mask_live(live: Mapping[str, Any], wanted: Mapping[str, Any], masked: Mapping[str, Any]) -> dict[str, Any]:
    """What is there, masked where what is wanted is; values that differ say so without being shown."""
    result = _mask_live(live, wanted, masked)
    assert isinstance(result, dict)
    if result.get("kind") == "Secret" or wanted.get("kind") == "Secret":
        for part in _PARTS:
            for key in as_mapping(result.get(part)):
                same = dig(live, part, key) == dig(wanted, part, key)
                result[part][key] = LEFT_OUT if same else f"{LEFT_OUT}, and different"
    return result


def _mask_live(live: Any, wanted: Any, masked: Any) -> Any:
    if masked == LEFT_OUT:
        return LEFT_OUT if live == wanted else f"{LEFT_OUT}, and different"
    if isinstance(live, Mapping) and isinstance(masked, Mapping):
        return {
            key: _mask_live(item, as_mapping(wanted).get(key), masked[key]) if key in masked else item
            for key, item in live.items()
        }
    if isinstance(live, list) and isinstance(masked, list) and len(live) == len(masked) == len(wanted):
        return [_mask_live(*items) for items in zip(live, wanted, masked, strict=True)]
    return live


def left_out(manifests: Iterable[Mapping[str, Any]], secret_names: Sequence[str]) -> str:
    """One line that names what was left out; empty where nothing was."""
    parts: list[str] = []
    for manifest in manifests:
        keys = [key for part in _PARTS for key in as_mapping(manifest.get(part))]
        if manifest.get("kind") == "Secret" and keys:
            metadata = as_mapping(manifest.get("metadata"))
            path = f"{as_text(metadata.get('namespace'))}/{as_text(metadata.get('name'))}".strip("/")
            parts.append(f"Secret {path} ({', '.join(keys)})")
    if secret_names:
        parts.append(f"the answer{'s' if len(secret_names) > 1 else ''} {', '.join(secret_names)}")
    shown = parts if len(parts) <= 4 else [*parts[:3], f"{len(parts) - 3} more"]
    return f"left out: {'; '.join(shown)} (--show-secrets shows them)" if parts else ""


def scrub_text(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets, plain or in base64. Secrets of fewer than four characters are left alone:
    taking out every "a" would hide the message and tell the secret."""
    for secret in sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True):
        for form in (secret, base64.b64encode(secret.encode()).decode()):
            text = text.replace(form, LEFT_OUT)
    return text


def scrub_error(error: VmkitError, secrets: Sequence[str]) -> VmkitError:
    """The error without the secrets: a server may quote what it refuses."""
    if secrets:
        error.message = scrub_text(error.message, secrets)
        error.hint = scrub_text(error.hint, secrets)
        error.args = (error.message,)
        if isinstance(error, ClusterError):
            error.causes = tuple(
                {
                    key: scrub_text(value, secrets) if isinstance(value, str) else value
                    for key, value in cause.items()
                }
                for cause in error.causes
            )
    return error


def stand_ins(complete: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The answers with others in place of the secrets: of another length, sharing no text with them."""
    changed = dict(complete)
    for name in names:
        value = changed[name]
        if isinstance(value, str):
            changed[name] = _other(value)
        elif isinstance(value, list):
            changed[name] = [_other(str(item)) for item in value]
        elif isinstance(value, bool):
            changed[name] = not value
        elif isinstance(value, int | float):
            changed[name] = value + 1
    return changed


def _other(text: str) -> str:
    return "".join("x" if character != "x" else "y" for character in text) + "xy"
