from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.lab.semantics.selectors import build_label_selector, parse_field_selector, parse_label_selector
from vmkit.lab.status import ApiError

LABELS = {"app": "web", "tier": "3", "empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app == web", True),
        ("app!=web", False),
        ("none!=web", True),
        ("app in (web, db)", True),
        ("app notin (web)", False),
        ("none notin (web)", True),
        ("app,tier", True),
        ("!app", False),
        ("!none", True),
        ("tier>2,tier<4", True),
        ("tier>3", False),
        ("app>1", False),
        ("empty=", True),
        ("empty", True),
        ("app in ()", False),
        ("in=x", False),
        ("app=web,tier in (1,2)", False),
    ],
)
def test_label_selectors_match_as_the_server_does(text, matches):
    assert parse_label_selector(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("=x", "found '=', expected: !, identifier, or 'end of string'"),
        ("n in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        ("n in x", "unable to parse requirement: found 'x' expected: '('"),
        ("n in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'"),
        ("a,", "found '', expected: identifier after ','"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        (
            "a=-x",
            'unable to parse requirement: values[0][a]: Invalid value: "-x": a valid label must be an empty '
            "string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric "
            "character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
            "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
        (
            "a>x",
            "unable to parse requirement: values[0][a]: Invalid value: \"x\": for 'Gt', 'Lt' "
            "operators, the value must be an integer",
        ),
    ],
)
def test_label_selectors_are_refused_in_the_servers_words(text, message):
    with pytest.raises(ApiError) as refused:
        parse_label_selector(text)
    assert (refused.value.code, refused.value.message) == (400, message)


@given(st.text(alphabet="ab1=!(),<> in-_./", max_size=14))
def test_any_text_is_a_selector_or_a_bad_request(text):
    with contextlib.suppress(ApiError):
        assert parse_label_selector(text).matches(LABELS) in (True, False)


def test_selector_objects_match_like_texts():
    selector = build_label_selector(
        {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["3"]}]}
    )
    assert selector.matches(LABELS)
    assert build_label_selector({}).matches({})
    assert not build_label_selector(None).matches({})


def test_field_selectors_read_escapes_and_refuse_nonsense():
    selector = parse_field_selector(r"a=x\,y,b!=z,c==1", lambda field: None)
    assert selector.matches({"a": "x,y", "b": "q", "c": "1"})
    assert not selector.matches({"a": "x,y", "b": "z", "c": "1"})
    with pytest.raises(ApiError, match="can't understand 'nonsense'"):
        parse_field_selector("nonsense", lambda field: None)
