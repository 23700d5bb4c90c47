from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vmkit.errors import NotFound
from vmkit.report.documents import render_json, render_yaml
from vmkit.report.envelope import build_envelope, render_envelope

ROWS = st.lists(
    st.dictionaries(st.text(max_size=4), st.text() | st.none() | st.lists(st.integers(0, 9))), max_size=4
)


def _rendered(rows: list[Any], output: str, **extra: Any) -> str:
    envelope = build_envelope("Thing", "look", exit_code=0, notices=["items: []", '"items": []'], **extra)
    return "".join(render_envelope(envelope, rows, output))


@given(ROWS)
def test_pieces_make_up_the_whole_envelope(rows: list[Any]) -> None:
    try:
        whole = {
            **build_envelope("Thing", "look", exit_code=0, notices=["items: []", '"items": []']),
            "items": rows,
        }
        text = render_json(whole)
    except UnicodeEncodeError:
        return  # lone surrogates stand in no JSON; the API cannot send them
    assert _rendered(rows, "json") == text + "\n"
    assert yaml.safe_load(_rendered(rows, "yaml")) == whole
    assert _rendered(rows, "yaml") == render_yaml(whole)


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_no_rows_are_an_empty_list(output: str) -> None:
    assert yaml.safe_load(_rendered([], output))["items"] == []


def test_errors_stand_beside_the_items() -> None:
    document = json.loads(_rendered([{"a": 1}], "json", errors=[NotFound("gone")]))
    assert document["errors"] == [{"code": "NotFound", "message": "gone"}]
    assert document["items"] == [{"a": 1}]
