"""What names, labels and annotations may look like (k8s.io/apimachinery/pkg/util/validation, api/validation)."""

from __future__ import annotations

import re
from typing import Final

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE: Final = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"

_SUBDOMAIN_MESSAGE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character"
)
_LABEL_MESSAGE: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character"
)
_LABEL_1035_MESSAGE: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
    "character, and end with an alphanumeric character"
)
_QUALIFIED_MESSAGE: Final = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character"
)
_LABEL_VALUE_MESSAGE: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
    "and end with an alphanumeric character"
)


def _explain(message: str, pattern: str, *examples: str) -> str:
    """validation.RegexError: the message with examples and the pattern."""
    if not examples:
        return f"{message} (regex used for validation is '{pattern}')"
    shown = " or ".join(f"'{each}', " for each in examples)
    return f"{message} (e.g. {shown}regex used for validation is '{pattern}')"


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def check_subdomain(text: str) -> list[str]:
    """Complaints about a DNS-1123 subdomain; none when it is fine."""
    complaints = [_too_long(253)] if len(text) > 253 else []
    if not re.fullmatch(_SUBDOMAIN, text):
        complaints.append(_explain(_SUBDOMAIN_MESSAGE, _SUBDOMAIN, "example.com"))
    return complaints


def check_label_name(text: str) -> list[str]:
    """Complaints about a DNS-1123 label (namespaces)."""
    complaints = [_too_long(63)] if len(text) > 63 else []
    if not re.fullmatch(_LABEL, text):
        if re.fullmatch(_SUBDOMAIN, text):
            complaints.append("must not contain dots")
        else:
            complaints.append(_explain(_LABEL_MESSAGE, _LABEL, "my-name", "123-abc"))
    return complaints


def check_label_1035(text: str) -> list[str]:
    """Complaints about a DNS-1035 label (services)."""
    complaints = [_too_long(63)] if len(text) > 63 else []
    if not re.fullmatch(_LABEL_1035, text):
        complaints.append(_explain(_LABEL_1035_MESSAGE, _LABEL_1035, "my-name", "abc-123"))
    return complaints


def check_path_segment(text: str) -> list[str]:
    """Complaints about a name that only has to fit into a path (roles, bindings)."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{letter}'" for letter in ("/", "%") if letter in text]


_STYLES: Final = {
    "subdomain": check_subdomain,
    "label": check_label_name,
    "label1035": check_label_1035,
    "path": check_path_segment,
}


def check_name(text: str, style: str, *, prefix: bool = False) -> list[str]:
    """Complaints about ``metadata.name`` or, with ``prefix``, generateName (whose trailing dash is fine).

    Args:
        style: "subdomain", "label", "label1035" or "path".
    """
    if prefix and len(text) > 1 and text.endswith("-"):
        text = text[:-1] + "a"
    return _STYLES[style](text)


def check_qualified_name(text: str) -> list[str]:
    """Complaints about a label or annotation key."""
    parts = text.split("/")
    complaints: list[str] = []
    if len(parts) == 1:
        name = parts[0]
    elif len(parts) == 2:
        prefix, name = parts
        if not prefix:
            complaints.append("prefix part must be non-empty")
        else:
            complaints.extend(f"prefix part {complaint}" for complaint in check_subdomain(prefix))
    else:
        pattern = _explain("a qualified name " + _QUALIFIED_MESSAGE, _QUALIFIED, "MyName", "my.name", "123-abc")
        return [f"{pattern} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    if not name:
        complaints.append("name part must be non-empty")
    elif len(name) > 63:
        complaints.append(f"name part {_too_long(63)}")
    if not re.fullmatch(_QUALIFIED, name):
        explained = _explain(_QUALIFIED_MESSAGE, _QUALIFIED, "MyName", "my.name", "123-abc")
        complaints.append(f"name part {explained}")
    return complaints


def check_label_key(text: str) -> str:
    """The complaint about a label's key, or an empty text."""
    return "; ".join(check_qualified_name(text))


def check_label_value(text: str) -> str:
    """The complaint about a label's value, or an empty text."""
    complaints = [_too_long(63)] if len(text) > 63 else []
    if not re.fullmatch(_LABEL_VALUE, text):
        complaints.append(_explain(_LABEL_VALUE_MESSAGE, _LABEL_VALUE, "MyValue", "my_value", "12345"))
    return "; ".join(complaints)
