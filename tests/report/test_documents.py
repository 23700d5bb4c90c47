from __future__ import annotations

import json
from enum import StrEnum
from types import MappingProxyType

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vmkit.report.documents import render_json, render_yaml, render_yaml_documents

TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_json_reads_back_to_the_same_value(value: object) -> None:
    assert json.loads(render_json(value)) == value


@given(VALUES)
def test_yaml_reads_back_to_the_same_value(value: object) -> None:
    assert yaml.safe_load(render_yaml(value)) == value


@pytest.mark.parametrize("render", [render_json, render_yaml])
def test_no_control_character_reaches_a_terminal(render: object) -> None:
    text = render({"name": "\x1b[31m\x9b2J\u202e\x7f", "\x1bkey": "multi\nline\x1b"})  # type: ignore[operator]
    assert not any(character in text for character in "\x1b\x9b\u202e\x7f")


def test_texts_of_several_lines_are_blocks() -> None:
    assert render_yaml({"userData": "#cloud-config\npackages: [nginx]\n"}) == (
        "userData: |\n  #cloud-config\n  packages: [nginx]\n"
    )


def test_keys_keep_their_order_and_nothing_is_an_alias() -> None:
    shared = {"x": 1}
    assert render_yaml({"b": shared, "a": shared}) == "b:\n  x: 1\na:\n  x: 1\n"


def test_several_documents_are_separated() -> None:
    assert list(yaml.safe_load_all(render_yaml_documents([{"a": 1}, {"b": 2}]))) == [{"a": 1}, {"b": 2}]


class _Word(StrEnum):
    ONE = "one"


def test_values_of_the_project_are_plain_in_yaml() -> None:
    assert render_yaml({"word": _Word.ONE, "pair": (1, 2), "map": MappingProxyType({"k": "v"})}) == (
        "word: one\npair:\n- 1\n- 2\nmap:\n  k: v\n"
    )
