from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from vmkit import errors
from vmkit.cluster.failures import Asked, error_from_reply
from vmkit.cluster.resources import CEPH_CLUSTERS, DATA_VOLUMES, SECRETS, VIRTUAL_MACHINES

ASKED = Asked("get", VIRTUAL_MACHINES, "shop", "web-1")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def status(code: int, reason: str, message: str, **details: Any) -> bytes:
    return json.dumps(
        {
            "kind": "Status",
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
            "details": details,
        }
    ).encode()


def read(code: int, body: bytes, asked: Asked = ASKED, **headers: str) -> errors.ClusterError:
    headers.setdefault("content_type", "application/json")
    return error_from_reply(
        code, {key.replace("_", "-"): value for key, value in headers.items()}, body, asked, now=NOW
    )


UNDERWAY = "Internal error occurred: unable to complete request: stop/start already underway"
DENIED = 'Internal error occurred: admission webhook "validator.kubevirt.io" denied the request: bad spec'
WEBHOOK = "Internal error occurred: failed calling webhook: context deadline exceeded"


@pytest.mark.parametrize(
    ("code", "body", "error"),
    [
        (400, status(400, "BadRequest", "bad"), errors.Invalid),
        (401, status(401, "Unauthorized", "Unauthorized"), errors.Unauthorized),
        (403, status(403, "Forbidden", "no"), errors.Forbidden),
        (404, status(404, "NotFound", "x not found", name="web-1"), errors.NotFound),
        (404, status(404, "NotFound", "the server could not find the requested resource"), errors.MissingApi),
        (404, b"404 page not found\n", errors.MissingApi),
        (405, b"", errors.Invalid),
        (406, b"406: Not Acceptable", errors.Invalid),
        (409, status(409, "AlreadyExists", "exists", name="web-1"), errors.AlreadyExists),
        (409, status(409, "Conflict", "modified", name="web-1"), errors.Conflict),
        (410, status(410, "Expired", "too old"), errors.Expired),
        (413, b"", errors.Invalid),
        (422, status(422, "Invalid", "no"), errors.Invalid),
        (429, status(429, "TooManyRequests", "slow"), errors.Throttled),
        (500, status(500, "InternalError", UNDERWAY), errors.Conflict),
        (500, status(500, "InternalError", DENIED), errors.Invalid),
        (500, status(500, "InternalError", WEBHOOK), errors.ServerFault),
        (
            500,
            status(500, "", "failed to create typed patch object: .x: field not declared in schema"),
            errors.Invalid,
        ),
        (500, b"VMI does not have guest agent connected", errors.Conflict),
        (500, b"", errors.ServerFault),
        (502, b"<html>bad gateway</html>", errors.ServerFault),
        (503, status(503, "ServiceUnavailable", "unable"), errors.ServerFault),
        (504, b"", errors.ServerFault),
        (302, b"", errors.ClusterError),
    ],
)
def test_each_answer_becomes_the_error_of_who_must_act(code: int, body: bytes, error: type[Exception]) -> None:
    content_type = "application/json" if body.startswith(b"{") else "text/plain"
    found = read(code, body, content_type=content_type)
    assert type(found) is error
    assert found.status == code
    assert found.message


def test_messages_name_the_object_and_keep_what_the_server_says_of_it() -> None:
    text = 'Operation cannot be fulfilled on virtualmachine.kubevirt.io "web-1": VM is already running'
    error = read(409, status(409, "Conflict", text))
    assert error.message == "VirtualMachine shop/web-1: VM is already running"
    assert error.where == "shop/web-1"
    assert (
        read(404, status(404, "NotFound", "x", name="web-1")).message == "VirtualMachine shop/web-1 does not exist"
    )


def test_a_namespace_that_is_missing_is_not_taken_for_the_object_asked_for() -> None:
    told = status(404, "NotFound", 'namespaces "shop" not found', name="shop", kind="namespaces")
    error = read(404, told)
    assert error.message == "namespace shop does not exist"
    assert "kubectl create namespace shop" in error.hint


@pytest.mark.parametrize(
    ("denial", "rule", "where"),
    [
        (
            'virtualmachines.subresources.kubevirt.io "x" is forbidden: User "system:serviceaccount:shop:jobber" '
            'cannot update resource "virtualmachines/stop" in API group "subresources.kubevirt.io" in the '
            'namespace "shop"',
            '{apiGroups: ["subresources.kubevirt.io"], resources: ["virtualmachines/stop"], verbs: ["update"]}',
            "Role in namespace shop",
        ),
        (
            'virtualmachines.kubevirt.io is forbidden: User "alice" cannot list resource "virtualmachines" in API '
            'group "kubevirt.io" at the cluster scope',
            '{apiGroups: ["kubevirt.io"], resources: ["virtualmachines"], verbs: ["list"]}',
            "ClusterRole",
        ),
        (
            'secrets is forbidden: User "alice" cannot create resource "secrets" in API group "" in the '
            'namespace "a"',
            '{apiGroups: [""], resources: ["secrets"], verbs: ["create"]}',
            "Role in namespace a",
        ),
    ],
)
def test_a_denial_says_which_rule_is_missing(denial: str, rule: str, where: str) -> None:
    error = read(403, status(403, "Forbidden", denial))
    assert rule in error.hint
    assert where in error.hint


def test_a_denial_that_is_no_missing_rule_invents_none() -> None:
    error = read(403, status(403, "Forbidden", "exceeded quota: small, requested: pods=1"))
    assert "exceeded quota" in error.message
    assert error.hint == ""


def test_a_missing_api_says_what_to_install() -> None:
    for resource, provider in (
        (VIRTUAL_MACHINES, "KubeVirt"),
        (DATA_VOLUMES, "Importer"),
        (CEPH_CLUSTERS, "Rook"),
    ):
        error = read(404, b"404 page not found", Asked("list", resource, "shop"), content_type="text/plain")
        assert provider in error.hint
        assert resource.qualified_name in error.message


def test_causes_are_kept() -> None:
    causes = [{"reason": "FieldValueInvalid", "message": "too small", "field": "spec.x"}]
    assert read(422, status(422, "Invalid", "no", causes=causes)).causes == tuple(causes)


def test_what_a_secret_holds_is_never_repeated() -> None:
    causes = [{"message": 'Invalid value: "hunter2"', "field": "data[password]"}]
    body = status(422, "Invalid", 'Secret "s" is invalid: data[password]: Invalid value: "hunter2"', causes=causes)
    error = read(422, body, Asked("create", SECRETS, "shop", "s"))
    assert "hunter2" not in json.dumps(error.to_dict())
    assert "data[password]" in error.message
    other = read(500, b'{"kind": "Secret", "data": {"password": "hunter2"}}')
    assert "hunter2" not in json.dumps(other.to_dict())


def test_texts_are_cut_and_pages_left_out() -> None:
    assert len(read(502, b"x" * 5000, content_type="text/plain").message) < 400
    assert "web page" in read(502, b"<html><body>login</body></html>", content_type="text/html").message


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [
        ({}, {}, None),
        ({"retry_after": "3"}, {}, 3.0),
        ({}, {"retryAfterSeconds": 5}, 5.0),
        ({"retry_after": "3"}, {"retryAfterSeconds": 5}, 5.0),
        ({"retry_after": "Mon, 23 Nov 2026 12:00:10 GMT"}, {}, 10.0),
        ({"retry_after": "Mon, 23 Nov 2026 11:00:00 GMT"}, {}, None),
        ({"retry_after": "soon"}, {"retryAfterSeconds": True}, None),
        ({"retry_after": "999999"}, {}, None),
    ],
)
def test_the_wait_that_is_asked_for_is_read(
    headers: dict[str, str], details: dict[str, Any], seconds: float | None
) -> None:
    error = read(429, status(429, "TooManyRequests", "slow", **details), **headers)
    assert error.retry_after_seconds == seconds
