"""CEL as policies write it."""

import pytest

from vmkit.lab.policies.expressions import CelError, compile_expression

VM = {"metadata": {"annotations": {"a": "1"}}, "spec": {"running": False, "cores": 4, "share": 0.5, "none": None}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("object.spec.cores == 4 && object.spec.share < 1.0", True),
        ("'a' in object.metadata.annotations", True),
        ("object.metadata.annotations.all(key, key.startsWith('b'))", False),
        ("has(object.metadata.labels)", False),
        ("object.metadata.?labels.orValue({}) == {}", True),
        ("object.metadata.?labels['x'].hasValue()", False),
        ("object.spec.none == null", True),
        ("oldObject == null", True),
        ("'a,b'.split(',')", ["a", "b"]),
        ("object.spec.cores > 3 || object.nowhere", True),
        ("'is ' + object.metadata.annotations['a']", "is 1"),
        ("{'x': [object.spec]}.x[0].cores", 4),
    ],
)
def test_expressions_have_the_values_that_the_language_gives_them(text, value):
    assert compile_expression(text).evaluate({"object": VM}) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("object.metadata.nowhere == 1", 'Key not found in map : "nowhere"'),
        ("1 / (object.spec.cores - 4) == 1", "divide by zero"),
        ("object.spec.cores + 'x' == 'x'", ""),
    ],
)
def test_an_error_ends_the_evaluation(text, why):
    with pytest.raises(CelError, match=why or "."):
        compile_expression(text).evaluate({"object": VM})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("object.(", "1:8: Syntax error"),
        ("nobody.knows", "undeclared reference to 'nobody"),
        ("1 + 'a' == 2", "found no matching overload for '_\\+_'"),
        ("quantity('1Gi').isGreaterThan(quantity('1Mi'))", "the practice cluster knows CEL with"),
        ("authorizer.group('').resource('pods').check('get').allowed()", "neither the authorizer"),
    ],
)
def test_what_cannot_be_compiled_is_told_with_its_place(text, why):
    with pytest.raises(CelError, match=why):
        compile_expression(text)


def test_the_type_that_an_expression_certainly_has_is_known():
    names = [compile_expression(text).type_name for text in ("1 == 2", "'a'", "object.spec.running")]
    assert names == ["BOOL", "STRING", "DYN"]
