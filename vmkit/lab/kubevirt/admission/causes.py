"""The causes by which KubeVirt's validating webhooks refuse an object, and how they are put together."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

INVALID: Final = "FieldValueInvalid"
REQUIRED: Final = "FieldValueRequired"
DUPLICATE: Final = "FieldValueDuplicate"
NOT_SUPPORTED: Final = "FieldValueNotSupported"
NOT_FOUND: Final = "FieldValueNotFound"

_SHOWN: Final = 10
"""KubeVirt shows ten causes and counts the rest (pkg/util/webhooks/validating-webhooks)."""

Object = dict[str, Any]


class Cause(NamedTuple):
    """One reason for refusing an object.

    Attributes:
        message: what is wrong, usually with the field in it.
        field: the path of the field; empty where KubeVirt names none.
        reason: the machine-readable reason.
    """

    message: str
    field: str = ""
    reason: str = INVALID

    def to_dict(self) -> Object:
        """The cause as it stands in a Status."""
        cause: Object = {}
        if self.reason:
            cause["reason"] = self.reason
        cause["message"] = self.message
        if self.field:
            cause["field"] = self.field
        return cause


def render_message(causes: list[Cause]) -> str:
    """All causes in one line, as the Status message carries them: the first ten, and how many more there are."""
    message = ", ".join(cause.message for cause in causes[:_SHOWN])
    if len(causes) > _SHOWN:
        message += f", and {len(causes) - _SHOWN} more validation errors"
    return message


def shown(causes: list[Cause]) -> list[Cause]:
    """The causes that stand in details.causes."""
    return causes[:_SHOWN]
