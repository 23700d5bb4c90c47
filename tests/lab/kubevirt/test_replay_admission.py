"""Recorded creations, most of them refused: each is answered as it was."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.kubevirt.recorded import Object, check, load, make_namespace


@pytest.mark.parametrize("step", load("admission")["steps"], ids=lambda step: step["step"].replace(" ", "-"))
def test_admission_answers_as_recorded(cluster: Any, step: Object) -> None:
    make_namespace(cluster, "rec-admission")
    check(cluster, step)
