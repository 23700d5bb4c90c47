"""What counts as the same answer, and what does not."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.errors import ManifestError
from vmkit.migrate.verify.compare import Difference, compare_answers
from vmkit.migrate.verify.exchange import Answer, Request
from vmkit.migrate.verify.tolerances import Tolerance, merge, parse_tolerances

GET = Request("web")
JSON = (("content-type", "application/json"),)


def answer(body: str | bytes = "", *headers: tuple[str, str], status: int = 200) -> Answer:
    return Answer(status, headers, body.encode() if isinstance(body, str) else body)


def differing(
    expected: Answer, found: Answer, *tolerances: dict[str, object], request: Request = GET
) -> list[str]:
    parsed = parse_tolerances({"tolerances": list(tolerances)}, where="test")
    return [str(one) for one in compare_answers(request, expected, found, merge(parsed, request))]


def test_equal_answers_do_not_differ() -> None:
    assert differing(answer("x", *JSON), answer("x", *JSON)) == []


def test_a_status_a_type_and_a_body_that_differ_are_each_named_with_both_values() -> None:
    found = differing(
        answer("old", ("content-type", "text/html")), answer("new", ("content-type", "text/plain"), status=500)
    )
    assert found == [
        "status: 500, the VM said 200", "header content-type: text/plain, the VM said text/html",
        "body: new, the VM said old",
    ]  # fmt: skip


def test_headers_that_say_only_who_answered_are_not_compared() -> None:
    ours = answer("", ("server", "nginx"), ("date", "today"), ("etag", '"1"'), ("last-modified", "a"))
    assert differing(answer("", ("server", "apache"), ("date", "yesterday"), ("etag", '"2"')), ours) == []


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [
        ("content-type", "text/html;charset=UTF-8", "text/html; charset=utf-8"),
        ("location", "http://localhost:8080/login?next=/", "/login?next=/"),
        ("location", "http://10.0.2.15/a", "https://old-web.example/a"),
        ("allow", "GET, HEAD", "HEAD,GET"),
    ],
)
def test_two_ways_to_write_one_header_are_the_same(name: str, left: str, right: str) -> None:
    assert differing(answer("", (name, left)), answer("", (name, right))) == []


def test_a_redirect_to_another_place_differs() -> None:
    [found] = differing(answer("", ("location", "http://a/login")), answer("", ("location", "http://a/")))
    assert found == "header location: /, the VM said /login"


def test_cookies_are_compared_by_name_and_attributes_not_by_value() -> None:
    ours = answer("", ("set-cookie", "sid=abc; Path=/; HttpOnly"), ("set-cookie", "lang=de"))
    assert (
        differing(answer("", ("set-cookie", "lang=en"), ("set-cookie", "sid=xyz; HttpOnly; Path=/")), ours) == []
    )
    [found] = differing(
        answer("", ("set-cookie", "sid=xyz; HttpOnly; Path=/; Secure"), ("set-cookie", "lang=x")), ours
    )
    assert found.startswith("header set-cookie: ")
    assert "abc" not in found


def test_json_is_compared_by_value_and_a_difference_named_by_its_pointer() -> None:
    assert differing(answer('{"a": 1, "b": [1, 2]}', *JSON), answer('{"b":[1,2],"a":1}', *JSON)) == []
    found = differing(
        answer('{"a/b": {"c": 1}, "list": [1], "gone": null}', *JSON),
        answer('{"a/b": {"c": "1"}, "list": [1, 2], "new": true}', *JSON),
    )
    assert found == [
        'body /a~1b/c: "1", the VM said 1', "body /gone: nothing, the VM said null",
        "body /list: 2 entries, the VM said 1 entries", "body /new: true, the VM said nothing",
    ]  # fmt: skip


def test_true_is_not_one() -> None:
    assert differing(answer('{"a": 1}', *JSON), answer('{"a": true}', *JSON)) != []


def test_a_pointer_that_is_tolerated_takes_everything_below_it_with_it() -> None:
    old, new = (
        answer('{"t": {"now": 1}, "rows": [{"id": 1, "v": 2}]}', *JSON),
        answer('{"t": {"now": 2, "x": 0}, "rows": [{"id": 7, "v": 2}]}', *JSON),
    )
    assert differing(old, new, {"ignorePointers": ["/t", "/rows/*/id"]}) == []
    assert differing(old, new, {"ignorePointers": ["/t/now", "/rows/*/id"]}) == [
        "body /t/x: 0, the VM said nothing"
    ]


def test_a_mask_makes_texts_the_same_only_where_it_matches() -> None:
    old, new = answer("at 10:00 ok"), answer("at 11:30 ok")
    assert differing(old, new, {"masks": [r"\d\d:\d\d"]}) == []
    assert differing(old, answer("at 11:30 no"), {"masks": [r"\d\d:\d\d"]}) == [
        "body, character 5: at … no, the VM said at … ok"
    ]
    assert (
        differing(answer('{"a": "10:00"}', *JSON), answer('{"a": "11:00"}', *JSON), {"masks": [r"\d\d:\d\d"]})
        == []
    )


def test_a_tolerance_is_for_the_workload_and_the_path_it_names() -> None:
    row = {
        "service": "web",
        "path": "/status*",
        "ignoreBody": True,
        "ignoreHeaders": ["Content-Type"],
        "reason": "clock",
    }
    old, new = answer("a", *JSON), answer("b")
    asked = Request("web", path="/status/x?y=/z")
    assert differing(old, new, row, request=asked) == []
    assert merge(parse_tolerances({"tolerances": [row]}, where="t"), asked).reason == "clock"
    assert differing(old, new, row, request=Request("web", path="/other")) != []
    assert differing(old, new, row, request=Request("mail", path="/status")) != []


def test_a_packed_body_is_compared_as_what_is_in_it() -> None:
    packed = gzip.compress(b"hello", mtime=7)
    assert differing(answer(gzip.compress(b"hello", 1, mtime=1), ("content-encoding", "gzip")),
                     answer(packed, ("content-encoding", "gzip"))) == []  # fmt: skip
    assert (
        differing(answer(b"not packed", ("content-encoding", "gzip")), answer(b"x", ("content-encoding", "gzip")))
        != []
    )


def test_a_packed_body_that_grows_beyond_measure_is_not_unpacked_wholly() -> None:
    bomb = gzip.compress(bytes(70 * 2**20), 9, mtime=0)
    assert (
        differing(answer(bomb, ("content-encoding", "gzip")), answer(bomb[:-1], ("content-encoding", "gzip")))
        != []
    )


def test_the_body_of_an_answer_to_head_is_nothing() -> None:
    assert differing(answer("x"), answer("y"), request=Request("web", "HEAD")) == []


def test_json_deeper_than_anybody_reads_is_compared_without_a_crash() -> None:
    deep = "[" * 3000 + "]" * 3000
    assert differing(answer(deep, *JSON), answer(deep.replace("[]", "[1]"), *JSON)) != []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(json_values, json_values)
def test_json_bodies_differ_exactly_when_their_values_do(left: object, right: object) -> None:
    same = json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
    found = compare_answers(GET, answer(json.dumps(left), *JSON), answer(json.dumps(right), *JSON), Tolerance())
    assert (found == []) is same


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "just a list"), ({"tolerances": [], "more": 1}, "just a list"), ({"tolerances": ["x"]}, "no mapping"),
        ({"tolerances": [{"service": "web"}]}, "tolerates nothing"),
        ({"tolerances": [{"ignoreHeader": ["a"]}]}, "not known: ignoreHeader"),
        ({"tolerances": [{"masks": ["("]}]}, "no regular expression"),
        ({"tolerances": [{"masks": "x"}]}, "no list of texts"),
        ({"tolerances": [{"ignorePointers": ["a"]}]}, "no JSON pointer"),
        ({"tolerances": [{"ignoreBody": "yes"}]}, "neither true nor false"),
        ({"tolerances": [{"ignoreBody": True, "path": 3}]}, "path is no text"),
    ],
)  # fmt: skip
def test_a_tolerance_that_cannot_be_meant_is_refused(document: object, says: str) -> None:
    with pytest.raises(ManifestError, match=says):
        parse_tolerances(document, where="tolerances.yaml")


def test_a_difference_reads_as_a_sentence() -> None:
    assert str(Difference("status", "200", "404")) == "status: 404, the VM said 200"
