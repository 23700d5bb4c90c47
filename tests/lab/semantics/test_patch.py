from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.lab.builtin.types import DEPLOYMENTS, PODS
from vmkit.lab.schemas import Schemas
from vmkit.lab.semantics.patch import apply_json_patch, apply_merge_patch, apply_strategic_patch
from vmkit.lab.status import ApiError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=12,
)


def without_nulls(value):
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7386, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_is_rfc_7386(target, patch, result):
    assert apply_merge_patch(target, patch) == result


@given(JSON, JSON)
def test_merging_twice_is_merging_once(target, patch):
    once = apply_merge_patch(target, patch)
    assert apply_merge_patch(once, patch) == once


@given(st.dictionaries(st.text(max_size=2), JSON, max_size=4))
def test_merging_into_nothing_gives_the_patch_without_nulls(patch):
    assert apply_merge_patch({}, patch) == without_nulls(patch)


@pytest.mark.parametrize(
    ("target", "operations", "result"),
    [
        ({"a": [1, 2]}, [{"op": "add", "path": "/a/-", "value": 3}], {"a": [1, 2, 3]}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a/b": 1, "~": 2}, [{"op": "remove", "path": "/a~1b"}, {"op": "remove", "path": "/~0"}], {}),
        ({"a": 1}, [{"op": "move", "from": "/a", "path": "/b"}], {"b": 1}),
        ({"a": {"x": 1}}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": {"x": 1}, "b": {"x": 1}}),
        (
            {"a": 1},
            [{"op": "test", "path": "/a", "value": 1}, {"op": "replace", "path": "/a", "value": 2}],
            {"a": 2},
        ),
        ({"a": 1}, [{"op": "test", "path": "/none", "value": None}], {"a": 1}),
    ],
)
def test_json_patch_is_rfc_6902(target, operations, result):
    assert apply_json_patch(target, operations) == result


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ([{"op": "test", "path": "/a", "value": True}], 422),
        ([{"op": "remove", "path": "/none"}], 422),
        ([{"op": "replace", "path": "/none", "value": 1}], 422),
        ([{"op": "add", "path": "/none/x", "value": 1}], 422),
        ([{"op": "dance", "path": "/a"}], 422),
        ([{"path": "/a"}], 422),
        ({"op": "add"}, 400),
        ([{"op": "test", "path": "/a", "value": 1}] * 10_001, 413),
    ],
)
def test_json_patch_refuses_as_the_server_does(operations, code):
    with pytest.raises(ApiError) as refused:
        apply_json_patch({"a": 1}, operations)
    assert refused.value.code == code


POD = Schemas().of(PODS)


def containers(*items):
    return {"spec": {"containers": list(items)}}


def test_strategic_patch_merges_list_items_by_their_key():
    base = containers({"name": "a", "image": "1"}, {"name": "b", "image": "1"})
    patched = apply_strategic_patch(base, containers({"name": "b", "image": "2"}, {"name": "c"}), POD)
    assert patched == containers({"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c"})


def test_strategic_patch_deletes_replaces_and_reorders():
    base = containers({"name": "a"}, {"name": "b"})
    assert apply_strategic_patch(base, containers({"name": "a", "$patch": "delete"}), POD) == containers(
        {"name": "b"}
    )
    assert apply_strategic_patch(base, containers({"$patch": "replace"}, {"name": "z"}), POD) == containers(
        {"name": "z"}
    )
    ordered = {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}
    assert apply_strategic_patch(base, ordered, POD) == containers({"name": "b"}, {"name": "a"})


def test_strategic_patch_treats_atomic_lists_and_finalizers_each_their_own_way():
    base = {"metadata": {"finalizers": ["a/x", "a/y"]}, "spec": {"tolerations": [{"key": "a"}]}}
    patch = {
        "metadata": {"finalizers": ["a/z"], "$deleteFromPrimitiveList/finalizers": ["a/x"]},
        "spec": {"tolerations": [{"key": "b"}]},
    }
    patched = apply_strategic_patch(base, patch, POD)
    assert patched == {"metadata": {"finalizers": ["a/y", "a/z"]}, "spec": {"tolerations": [{"key": "b"}]}}


def test_strategic_patch_keeps_only_named_keys_when_asked():
    base = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert apply_strategic_patch(base, patch, Schemas().of(DEPLOYMENTS)) == {
        "spec": {"strategy": {"type": "Recreate"}}
    }


def test_strategic_patch_refuses_an_item_without_its_key():
    with pytest.raises(ApiError) as refused:
        apply_strategic_patch(containers({"name": "a"}), containers({"image": "x"}), POD)
    assert refused.value.code == 422
