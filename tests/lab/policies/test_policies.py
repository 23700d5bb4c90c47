"""Admission policies over HTTP: made, refused, and enforced."""

from __future__ import annotations

import pytest

from tests.lab.wire import Wire
from vmkit.lab import Lab

POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def shared():
    with Lab(frozen=True) as lab:
        yield lab


@pytest.fixture
def wire(shared):
    wire = Wire(shared)
    yield wire
    for path in (BINDINGS, POLICIES, MAPS):
        assert wire.send("DELETE", path).status == 200


def policy(*validations, name="small", rules=None, constraints=None, **spec):
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}
    return {
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [rule] if rules is None else rules, **(constraints or {})},
            "validations": [
                {"expression": each} if isinstance(each, str) else each for each in validations or ["true"]
            ],
            **spec,
        },
    }


def binding(name="small", actions=("Deny",), **spec):
    return {
        "metadata": {"name": f"{name}-everywhere"},
        "spec": {"policyName": name, "validationActions": list(actions), **spec},
    }


def config(name="one", **data):
    return {"metadata": {"name": name}, "data": data}


def put_up(wire, document, bound=None):
    for path, each in ((POLICIES, document), (BINDINGS, bound or binding())):
        reply = wire.post(path, each)
        assert reply.status == 201, reply.body


def test_a_write_that_a_bound_policy_does_not_allow_is_denied_in_the_servers_words(wire):
    assert wire.post(POLICIES, policy("size(object.data) < 2")).status == 201
    assert wire.post(MAPS, config("before", a="1", b="2")).status == 201  # Nobody has bound it yet.
    assert wire.post(BINDINGS, binding()).status == 201
    assert wire.post(MAPS, config("small", a="1")).status == 201
    reply = wire.post(MAPS, config("large", a="1", b="2"))
    why = "ValidatingAdmissionPolicy 'small' with binding 'small-everywhere' denied request: "
    why += "failed expression: size(object.data) < 2"
    assert (reply.status, reply.body["reason"]) == (422, "Invalid")
    assert reply.body["message"] == f'configmaps "large" is forbidden: {why}'
    assert reply.body["details"] == {"name": "large", "kind": "configmaps", "causes": [{"message": why}]}
    assert wire.get(f"{MAPS}/large").status == 404
    assert wire.merge(f"{MAPS}/small", {"data": {"b": "2"}}).status == 422
    assert wire.get(f"{MAPS}/small").body["data"] == {"a": "1"}


def test_defaults_are_filled_in_as_the_server_does(wire):
    made = wire.post(POLICIES, policy()).body["spec"]
    assert made["failurePolicy"] == "Fail"
    assert made["matchConstraints"] == {
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "resourceRules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["*"],
                "resources": ["configmaps"],
                "scope": "*",
            }
        ],
    }


@pytest.mark.parametrize(
    ("validation", "status", "reason", "text"),
    [
        ({"expression": "false", "message": "not this"}, 422, "Invalid", "not this"),
        ({"expression": "false", "reason": "Forbidden"}, 403, "Forbidden", "failed expression: false"),
        ({"expression": "false", "reason": "Unauthorized", "message": "x"}, 401, "Unauthorized", "x"),
        (
            {"expression": "false", "messageExpression": "'no ' + object.metadata.name", "message": "x"},
            422, "Invalid", "no one",
        ),
        ({"expression": "false", "messageExpression": "object.nowhere + ''", "message": "x"}, 422, "Invalid", "x"),
        (
            {"expression": "object.nowhere == 1"}, 422, "Invalid",
            'expression \'object.nowhere == 1\' resulted in error: Key not found in map : "nowhere"',
        ),
    ],
)  # fmt: skip
def test_a_denial_has_the_code_reason_and_message_that_the_validation_gives(
    wire, validation, status, reason, text
):
    put_up(wire, policy(validation))
    reply = wire.post(MAPS, config())
    assert (reply.status, reply.body["reason"]) == (status, reason)
    assert reply.body["message"].endswith(f"denied request: {text}")


def test_an_error_is_let_pass_where_the_policy_says_ignore(wire):
    put_up(wire, policy("object.nowhere == 1", "object.metadata.name != 'two'", failurePolicy="Ignore"))
    assert wire.post(MAPS, config("one")).status == 201
    assert wire.post(MAPS, config("two")).status == 422


def test_conditions_say_whom_it_is_about_and_their_errors_count_as_the_failure_policy_says(wire):
    condition = {"name": "named", "expression": "object.metadata.labels['strict'] == 'yes'"}
    put_up(wire, policy("false", matchConditions=[condition]))
    assert wire.post(MAPS, {"metadata": {"name": "a", "labels": {"strict": "no"}}}).status == 201
    assert wire.post(MAPS, {"metadata": {"name": "b", "labels": {"strict": "yes"}}}).status == 422
    failed = wire.post(MAPS, {"metadata": {"name": "c"}})
    assert failed.status == 422
    assert "resulted in error" in failed.body["message"]
    never = {"name": "never", "expression": "false"}
    spec = {"spec": {"matchConditions": [condition, never]}}
    assert wire.merge(f"{POLICIES}/small", spec).status == 200
    assert wire.post(MAPS, {"metadata": {"name": "c"}}).status == 201  # One that is false decides.


def test_variables_are_evaluated_in_order_and_their_errors_only_count_where_they_are_used(wire):
    variables = [
        {"name": "data", "expression": "has(object.data) ? object.data : {}"},
        {"name": "count", "expression": "size(variables.data)"},
        {"name": "broken", "expression": "object.nowhere"},
    ]
    uses = "object.metadata.name != 'uses' || variables.broken == 1"
    put_up(wire, policy("variables.count < 2", uses, variables=variables))
    assert wire.post(MAPS, config("one")).status == 201
    assert wire.post(MAPS, config("two", a="1", b="2")).status == 422
    failed = wire.post(MAPS, config("uses"))
    assert 'composited variable "broken" fails to evaluate' in failed.body["message"]


def test_warnings_are_given_and_nothing_is_denied_where_the_binding_says_so(wire):
    put_up(wire, policy({"expression": "false", "message": "think again"}), binding(actions=("Warn", "Audit")))
    reply = wire.post(MAPS, config())
    assert reply.status == 201
    warned = "Validation failed for ValidatingAdmissionPolicy 'small' with binding 'small-everywhere': think again"
    assert warned in reply.headers["warning"]


def test_old_object_request_and_namespace_are_known(wire):
    frozen = "request.operation != 'UPDATE' || object.data == oldObject.data"
    kept = "request.operation != 'DELETE' || (object == null && oldObject.metadata.name != 'kept')"
    here = "namespaceObject.metadata.name == request.namespace && 'system:masters' in request.userInfo.groups"
    put_up(wire, policy(frozen, kept, here))
    assert wire.post(MAPS, config("kept", a="1")).status == 201
    assert wire.merge(f"{MAPS}/kept", {"data": {"a": "2"}}).status == 422
    assert wire.merge(f"{MAPS}/kept", {"metadata": {"labels": {"x": "y"}}}).status == 200
    assert wire.send("DELETE", f"{MAPS}/kept").status == 422
    assert wire.send("DELETE", f"{BINDINGS}/small-everywhere").status == 200
    assert wire.send("DELETE", f"{MAPS}/kept").status == 200


@pytest.mark.parametrize(
    ("rule", "denied"),
    [
        ({}, True),
        ({"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}, True),
        ({"resources": ["*/*"]}, True),
        ({"resources": ["configmaps/*"]}, True),
        ({"resources": ["configmaps/status"]}, False),
        ({"resources": ["secrets"]}, False),
        ({"apiGroups": ["apps"]}, False),
        ({"apiVersions": ["v2"]}, False),
        ({"operations": ["UPDATE", "DELETE"]}, False),
        ({"operations": ["CREATE"]}, True),
        ({"scope": "Cluster"}, False),
        ({"scope": "Namespaced"}, True),
        ({"resourceNames": ["one"]}, True),
        ({"resourceNames": ["other"]}, False),
    ],
)
def test_rules_say_what_a_policy_is_about(wire, rule, denied):
    whole = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"], **rule}
    put_up(wire, policy("object == null", rules=[whole]))
    assert wire.post(MAPS, config()).status == (422 if denied else 201)


def test_selectors_and_exclusions_narrow_it_in_policy_and_binding(wire):
    elsewhere = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
    marked = {"matchExpressions": [{"key": "strict", "operator": "Exists"}]}
    one = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    excluded = {**one, "resourceNames": ["spared"]}
    put_up(
        wire,
        policy("false", constraints={"objectSelector": marked, "excludeResourceRules": [excluded]}),
        binding(matchResources={"resourceRules": [one]}),
    )
    labels = {"labels": {"strict": ""}}
    assert wire.post(MAPS, config("plain")).status == 201
    assert wire.post(MAPS, {"metadata": {"name": "spared", **labels}}).status == 201
    assert wire.post(MAPS, {"metadata": {"name": "marked", **labels}}).status == 422
    spec = {"spec": {"matchResources": {"namespaceSelector": elsewhere}}}
    assert wire.merge(f"{BINDINGS}/small-everywhere", spec).status == 200
    assert wire.post(MAPS, {"metadata": {"name": "marked", **labels}}).status == 201
    assert wire.send("DELETE", f"{MAPS}/marked").status == 200


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (policy("object.data"), "must evaluate to bool"),
        (policy("object.("), "compilation failed: ERROR: <input>:1:8: Syntax error"),
        (policy("cidr('10.0.0.0/8').containsIP('10.0.0.1')"), "undeclared reference to 'cidr'"),
        (policy(""), "spec.validations[0].expression: Required value"),
        (policy({"expression": "true", "reason": "Teapot"}), "supported values"),
        (policy({"expression": "true", "messageExpression": "1"}), "must evaluate to string"),
        (policy(rules=[]), "spec.matchConstraints.resourceRules: Required value"),
        (policy(rules=[{"apiGroups": [""]}]), "resourceRules[0].resources: Required value"),
        (policy(failurePolicy="Perhaps"), 'Unsupported value: "Perhaps"'),
        (policy(variables=[{"name": "a b", "expression": "1"}]), "not a valid CEL identifier"),
        (policy(matchConditions=[{"name": "x", "expression": "'x'"}]), "must evaluate to bool"),
        (policy(paramKind={"apiVersion": "v1", "kind": "ConfigMap"}), "knows no parameters"),
    ],
)
def test_a_policy_that_would_be_without_effect_is_refused(wire, document, why):
    reply = wire.post(POLICIES, document)
    assert reply.status == 422
    assert why in reply.body["message"]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (binding(actions=()), "at least one validation action is required"),
        (binding(actions=("Deny", "Warn")), "must not contain both Deny and Warn"),
        (binding(actions=("Deny", "Deny")), "Duplicate value"),
        (binding(actions=("Stop",)), "Unsupported value"),
        (binding(name=""), "spec.policyName: Required value"),
        (binding(paramRef={"name": "x", "parameterNotFoundAction": "Deny"}), "knows no parameters"),
    ],
)
def test_a_binding_that_would_be_without_effect_is_refused(wire, document, why):
    reply = wire.post(BINDINGS, document)
    assert reply.status == 422
    assert why in reply.body["message"]


def test_policies_hold_in_a_lab_brought_back_from_a_saved_state(wire, shared, tmp_path):
    put_up(wire, policy("size(object.data) < 2"))
    shared.save(tmp_path / "state")
    with Lab(frozen=True, state=tmp_path / "state") as again:
        assert Wire(again).post(MAPS, config("large", a="1", b="2")).status == 422
        assert Wire(again).post(MAPS, config("small", a="1")).status == 201
