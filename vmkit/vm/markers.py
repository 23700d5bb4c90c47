"""The labels and annotations vmkit writes on VMs, and those of others it obeys.

Each is written by one capability and read by any. Nothing else under ``vmkit.io/`` has a meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vmkit.vm.strategy import RunStrategy, parse_run_strategy

FIELD_MANAGER: Final = "vmkit"
"""The name under which vmkit's writes stand in managedFields."""

ORIGINAL_RUN_STRATEGY: Final = "vmkit.io/original-run-strategy"
"""Annotation: the strategy a stop is about to lose. Written before it, obeyed and removed by the next start."""

TEMPLATE: Final = "vmkit.io/template"
"""Label and annotation: the template the VM was made from."""

TEMPLATE_DIGEST: Final = "vmkit.io/template-digest"
"""Annotation: the digest of that template as it was."""

ANSWERS_DIGEST: Final = "vmkit.io/answers-digest"
"""Annotation: the digest of the answers it was rendered with."""

RESIZE_AT_STOP: Final = "vmkit.io/resize-at-stop"
"""Annotation: the size it is to have once it is stopped: "vcpus=2,memory=4Gi" or "instancetype=u1.small"."""

KEPT_FROM: Final = "vmkit.io/kept-from"
"""Annotation on a DataVolume or claim: the VM ("namespace/name") it belonged to, which was deleted without it."""


def read_original_strategy(annotations: Mapping[str, str]) -> RunStrategy | None:
    """The strategy a start is to bring back, or None where none is recorded or the text is no strategy."""
    return parse_run_strategy(annotations.get(ORIGINAL_RUN_STRATEGY, ""))
