"""JSON and YAML documents."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import yaml

# DEL and C1 controls are legal inside JSON strings as they are, and acted upon by terminals.
_LEGAL_BUT_UNSAFE: Final = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def render_json(value: Any) -> str:
    """The value as indented JSON. Characters that could act upon a terminal are escaped, and only those: it
    reads back to the same value."""
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return _LEGAL_BUT_UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def render_yaml(value: Any) -> str:
    """The value as a YAML document, keys in their own order, texts of several lines as blocks."""
    return render_yaml_documents([value])


def render_yaml_documents(values: Iterable[Any]) -> str:
    """Several YAML documents, "---" between them."""
    import yaml

    text: str = yaml.dump_all(
        [_plain(value) for value in values],
        Dumper=_dumper(),
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=10_000,
    )
    # A text with such a character is always double-quoted (see represent_text), where the escape means the same.
    return _LEGAL_BUT_UNSAFE.sub(_escape, text)


@functools.cache
def _dumper() -> type[yaml.SafeDumper]:
    import yaml

    # libyaml's emitter is ten times as fast; not every build of PyYAML has it.
    base: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):  # type: ignore[misc, valid-type]
        """Writes texts of several lines as literal blocks, as people write cloud-init, and never an alias."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
        unsafe = _LEGAL_BUT_UNSAFE.search(text) is not None
        # A block that keeps several line ends is open-ended: YAML then wants a mark for the end of the document.
        block = "\n" in text and bool(text.strip()) and not text.endswith("\n\n")
        style = '"' if unsafe or (not block and "\n" in text) else "|" if block else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, represent_text)
    return Dumper


def _plain(value: Any) -> Any:
    """Mappings and sequences of any kind as dict and list; str subclasses (enums) as str."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    return value
