"""Answers: typed, bounded, and named in every error."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.errors import AnswerError
from vmkit.provision.parameters import Parameter, ParameterType, read_answer

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample1 ada@example"


def parameter(kind: str, **more: Any) -> Parameter:
    return Parameter("p", ParameterType(kind), **more)


@pytest.mark.parametrize(
    ("kind", "given_", "read"),
    [
        ("integer", "42", 42), ("integer", 42, 42), ("integer", "-1", -1),
        ("number", "0.5", 0.5), ("number", 3, 3), ("number", "3", 3),
        ("boolean", "yes", True), ("boolean", "FALSE", False), ("boolean", True, True),
        ("quantity", "10Gi", "10Gi"), ("quantity", 1024, "1024"),
        ("list", "a, b,", ["a", "b"]), ("list", ("a",), ["a"]),
        ("ssh-key", KEY + "\n", KEY), ("ssh-keys", f"{KEY}\n{KEY}\n", [KEY, KEY]), ("ssh-keys", [KEY], [KEY]),
        ("cron", "0 3 * * 1-5", "0 3 * * 1-5"), ("cron", "@daily", "@daily"),
        ("name", "web-1", "web-1"), ("text", "a\nb", "a\nb"), ("string", "a: b", "a: b"),
        ("image", "docker://r/x:1", ["docker://r/x:1"]),
        ("image", ["datasource:ns/x", "blank"], ["datasource:ns/x", "blank"]),
    ],
)  # fmt: skip
def test_an_answer_is_read_by_its_type(kind: str, given_: Any, read: Any):
    assert read_answer(parameter(kind), given_) == read


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("integer", "4.0"), ("integer", 4.5), ("integer", True), ("integer", ""), ("integer", "9" * 40),
        ("number", "nan"), ("number", float("nan")), ("number", "1e999"), ("boolean", "maybe"), ("boolean", 1),
        ("quantity", "10GB"), ("quantity", "-1Gi"), ("quantity", "big"), ("list", 5), ("list", [1]),
        ("ssh-key", "hello"), ("ssh-key", "-----BEGIN OPENSSH PRIVATE KEY-----\nx"),
        ("ssh-key", KEY + "\nrm -rf /"),
        ("cron", "every day"), ("cron", "* * * *"), ("name", "Web_1"), ("name", "-a"), ("string", "a\nb"),
        ("string", 5), ("image", "nonsense"), ("image", []), ("image", "file:///etc/passwd"),
    ],
)  # fmt: skip
def test_an_answer_that_does_not_fit_names_its_parameter(kind: str, bad: Any):
    with pytest.raises(AnswerError) as caught:
        read_answer(parameter(kind), bad)
    assert "'p'" in caught.value.message
    assert caught.value.where == "p"


def test_bounds_are_inclusive_and_of_the_quantity():
    bounded = parameter("quantity", minimum=Decimal(2**30), maximum=Decimal(2**31), minimum_text="1Gi",
                        maximum_text="2Gi")  # fmt: skip
    assert read_answer(bounded, "1024Mi") == "1024Mi"
    assert read_answer(bounded, "2Gi") == "2Gi"
    for bad in ("1023Mi", "3Gi"):
        with pytest.raises(AnswerError, match="1Gi to 2Gi"):
            read_answer(bounded, bad)


def test_a_choice_close_to_one_is_proposed():
    with pytest.raises(AnswerError) as caught:
        read_answer(parameter("choice", choices=("Always", "Manual")), "always")
    assert caught.value.hint == "did you mean 'Always'?"


def refusal_of(asked: Parameter, value: Any) -> AnswerError | None:
    try:
        read_answer(asked, value)
    except AnswerError as error:
        return error
    return None


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text())),
       st.sampled_from(list(ParameterType)))  # fmt: skip
def test_any_answer_is_read_or_refused_in_words(value: Any, kind: ParameterType):
    error = refusal_of(Parameter("p", kind, choices=("a",)), value)
    assert error is None or error.message


@given(st.text(alphabet="qwzj0%€\n", min_size=8))
def test_no_error_shows_a_secret(secret: str):
    for kind in ParameterType:
        error = refusal_of(Parameter("p", kind, secret=True, pattern="x{99}", choices=("x" * 99,)), secret)
        assert error is None or secret not in error.message + error.hint
