from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.lab.builtin.types import CONFIG_MAPS, PODS, SERVICES
from vmkit.lab.schemas import Schemas
from vmkit.lab.semantics.fieldset import FieldSet
from vmkit.lab.semantics.ownership import apply_configuration, collect, compare, track_update
from vmkit.lab.status import ApiError

SCHEMAS = Schemas()
CONFIG_MAP = SCHEMAS.of(CONFIG_MAPS)
POD = SCHEMAS.of(PODS)


def apply(live, config, *, manager="one", force=False, ftype=CONFIG_MAP):
    return apply_configuration(
        ftype,
        live,
        config,
        empty={"metadata": {}},
        manager=manager,
        api_version="v1",
        subresource="",
        time="2026-01-01T00:00:00Z",
        force=force,
    )


def update(live, new, *, manager="editor", ftype=CONFIG_MAP):
    new = copy.deepcopy(new)
    track_update(
        ftype,
        live,
        new,
        empty={"metadata": {}},
        manager=manager,
        api_version="v1",
        subresource="",
        time="2026-01-01T00:00:01Z",
    )
    return new


def data(**values):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": values}


def owners(obj):
    return {
        (each["manager"], each["operation"]): each["fieldsV1"] for each in obj["metadata"].get("managedFields", ())
    }


def test_what_an_applier_lets_go_of_is_removed():
    live = apply(None, data(x="1", y="1"))
    assert apply(live, data(x="1"))["data"] == {"x": "1"}


def test_what_another_applier_also_owns_stays():
    live = apply(apply(None, data(x="1", y="1")), data(y="1"), manager="two")
    left = apply(live, data(x="1"))
    assert left["data"] == {"x": "1", "y": "1"}
    assert owners(left)["two", "Apply"] == {"f:data": {"f:y": {}}}


def test_the_same_value_is_owned_together_and_another_is_a_conflict():
    live = apply(None, data(x="1"))
    assert set(owners(apply(live, data(x="1"), manager="two"))) == {("one", "Apply"), ("two", "Apply")}
    with pytest.raises(ApiError) as refused:
        apply(live, data(x="2"), manager="two")
    assert refused.value.message == 'Apply failed with 1 conflict: conflict with "one": .data.x'


def test_several_conflicts_are_listed_by_manager():
    live = update(apply(None, data(x="1", y="1")), data(x="1", y="1", z="1"))
    with pytest.raises(ApiError) as refused:
        apply(live, data(x="2", y="2", z="2"), manager="two")
    assert refused.value.message == (
        'Apply failed with 3 conflicts: conflicts with "editor" using v1:\n- .data.z\n'
        'conflicts with "one":\n- .data.x\n- .data.y'
    )


def test_force_takes_the_field_over():
    taken = apply(apply(None, data(x="1")), data(x="2"), manager="two", force=True)
    assert taken["data"] == {"x": "2"}
    assert set(owners(taken)) == {("two", "Apply")}


def test_an_update_takes_what_it_changes_and_nothing_else():
    live = apply(None, data(x="1", y="1"))
    changed = update(live, {**live, "data": {"x": "2", "y": "1"}})
    assert owners(changed) == {
        ("one", "Apply"): {"f:data": {"f:y": {}}},
        ("editor", "Update"): {"f:data": {"f:x": {}}},
    }


def test_list_items_are_told_apart_by_their_keys():
    first = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "1"}]}}
    second = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "b", "image": "1"}]}}
    live = apply(apply(None, first, ftype=POD), second, manager="two", ftype=POD)
    assert [each["name"] for each in live["spec"]["containers"]] == ["a", "b"]
    fields = owners(live)["two", "Apply"]["f:spec"]["f:containers"]
    assert fields == {'k:{"name":"b"}': {".": {}, "f:image": {}, "f:name": {}}}
    gone = apply(live, {"metadata": {"name": "p"}, "spec": {}}, ftype=POD)
    assert [each["name"] for each in gone["spec"]["containers"]] == ["b"]


def test_a_missing_list_key_counts_as_its_default():
    ports = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80, "targetPort": 1}]}}
    live = apply(None, ports, ftype=SCHEMAS.of(SERVICES))
    assert list(owners(live)["one", "Apply"]["f:spec"]["f:ports"]) == ['k:{"port":80,"protocol":"TCP"}']


def test_kubectl_takes_over_what_it_applied_from_the_client_before():
    text = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":"1"}}'
    body = data(x="1")
    body["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": text}
    live = update(None, body, manager="kubectl-client-side-apply")
    assert apply(live, data(x="2"), manager="kubectl")["data"] == {"x": "2"}
    with pytest.raises(ApiError):
        apply(live, data(x="2"), manager="other")


def test_at_most_ten_updaters_are_told_apart():
    live = update(None, data())
    for number in range(14):
        live = update(live, {**live, "data": {**live.get("data", {}), f"k{number}": "1"}}, manager=f"m{number:02}")
    assert len(live["metadata"]["managedFields"]) == 10
    assert "ancient-changes" in {each["manager"] for each in live["metadata"]["managedFields"]}


VALUES = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12"), max_size=4)


@given(VALUES, VALUES, VALUES)
def test_applying_twice_is_applying_once_and_never_loses_another_appliers_fields(mine, theirs, then):
    live = apply(apply(None, data(**mine)), data(**theirs), manager="two", force=True)
    once = apply(live, data(**then), force=True)
    assert apply(once, data(**then)) == once
    kept = {key: value for key, value in theirs.items() if key not in then}
    assert kept.items() <= once.get("data", {}).items()
    assert then.items() <= once.get("data", {}).items()


NESTED = st.recursive(
    st.text(max_size=2) | st.integers(0, 3),
    lambda inner: (
        st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3) | st.lists(inner, max_size=2)
    ),
    max_leaves=10,
)


@given(NESTED, NESTED)
def test_field_sets_round_trip_and_comparisons_account_for_every_change(old, new):
    schema = SCHEMAS.of(CONFIG_MAPS).field("unknown")
    one, other = {"x": old}, {"x": new}
    found = compare(schema, one, other)
    assert (not found.added and not found.modified and not found.removed) == (one == other)
    fields = collect(schema, other)
    assert FieldSet.read(fields.write()) == fields
    assert not fields.difference(fields)
    assert fields.intersection(fields) == fields == fields.union(fields)


def test_filling_an_empty_map_is_no_change_of_the_map_itself():
    live = update({"metadata": {}}, {"metadata": {}, "data": {}})
    filled = apply(live, data(x="1"))
    assert filled["data"] == {"x": "1"}
    assert compare(CONFIG_MAP, {"data": {}}, {"data": {"x": "1"}}).modified == FieldSet()
