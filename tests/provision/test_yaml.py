"""YAML in and out: one meaning for every text."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vmkit.errors import ManifestError
from vmkit.provision.yamlread import read_documents
from vmkit.provision.yamlwrite import is_plain, write_documents, write_yaml

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False),
    st.text(), st.text(alphabet="\n\t -:#'\"{}[]yesnoYES0123456789.eE+~|>&*!%@`\\\x85\u2028\ufeff"),
    st.sampled_from(["yes", "No", "on", "0755", "1_000", "12:30", "0x1f", "1e3", ".5", "=", "<<", "null", "~", "-",
                     "a: b", "a #b", "52:54:00:12:34:56", "2026-01-01", "30Gi",
                     "\U0010ffff", "a\n\nb\n", " a\nb"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4))
)


@given(VALUES)
def test_what_is_written_is_read_back_alike_by_this_reader(value: object):
    text = write_yaml({"value": value})
    assert read_documents(text, where="x")[0].value == {"value": value}


@given(VALUES)
def test_what_is_written_is_read_back_alike_by_a_reader_of_yaml_1_1(value: object):
    assert yaml.safe_load(write_yaml({"value": value})) == {"value": value}


def test_several_documents_are_kept_apart():
    texts = [document.value for document in read_documents(write_documents([{"a": 1}, {"b": [2]}]), where="x")]
    assert texts == [{"a": 1}, {"b": [2]}]


@pytest.mark.parametrize("text", ["yes", "0755", "12:30", "2026-01-01", "1_000", "0x1f", "on"])
def test_what_readers_disagree_about_is_text_here(text: str):
    assert read_documents(f"a: {text}\n", where="x")[0].value == {"a": text}
    assert not is_plain(text)


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: 1\na: 2\n", 2, 1, "stands here twice"),
        ("a: &x 1\nb: *x\n", 1, 4, "anchors"),
        ("a: b: c\n", 1, 5, "not YAML"),
        ("a:\n\t- 1\n", 2, 1, "not YAML"),
        ("a: !secret x\n", 1, 4, "unknown tag"),
        ("a: [1, 2\n", 2, 1, "not YAML"),
        ("<<: {a: 1}\n", 1, 1, "merge keys"),
        ("? [a]\n: 1\n", 1, 3, "a key has to be a text"),
        ("a: \x07\n", 1, 4, "not YAML"),
        ("a: 123456789012345678901234567890\n", 1, 4, "larger than Kubernetes"),
    ],
)  # fmt: skip
def test_a_mistake_has_a_line_and_a_column(text: str, line: int, column: int, words: str):
    with pytest.raises(ManifestError) as caught:
        read_documents(text, where="file.yaml")
    assert words in caught.value.message
    assert (caught.value.where, caught.value.line, caught.value.column) == ("file.yaml", line, column)


def test_endless_nesting_is_refused():
    for text in ("[" * 100 + "]" * 100, "[" * 100_000):
        with pytest.raises(ManifestError):
            read_documents(text, where="x")


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_place(text: str):
    error: ManifestError | None = None
    try:
        read_documents(text, where="x")
    except ManifestError as refused:
        error = refused
    assert error is None or error.line is None or error.line >= 1


def test_paths_lead_to_positions():
    document = read_documents("a:\n  - b: 1\n    c: |\n      x\n", where="x")[0]
    assert (document.position("a", 0, "c").line, document.position("a", 0, "c").column) == (3, 5)
    assert document.position("a", 7, "z").line == 1
    assert document.blocks[("a", 0, "c")] == 4
