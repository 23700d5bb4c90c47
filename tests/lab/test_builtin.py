"""What the API server fills in on Kubernetes' own kinds, and what it refuses about them, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.wire import Wire
from vmkit.lab import Lab

NS = "namespaces/default"
CONTAINER = {"name": "c", "image": "registry.example/c:1"}
POD = {"containers": [CONTAINER]}
JOB = {"template": {"spec": {**POD, "restartPolicy": "Never"}}}


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with Lab(frozen=True, tls=False) as lab:
        yield Wire(lab)


def _event(namespace: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": namespace},
        "reason": "R",
    }


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (
            f"/api/v1/{NS}/events",
            _event("default"),
            {
                "source": {},
                "firstTimestamp": None,
                "lastTimestamp": None,
                "eventTime": None,
                "reportingComponent": "",
                "reportingInstance": "",
            },
        ),
        (
            f"/apis/networking.k8s.io/v1/{NS}/networkpolicies",
            {"metadata": {"name": "np"}, "spec": {"podSelector": {}, "egress": [{}]}},
            {"spec": {"podSelector": {}, "egress": [{}], "policyTypes": ["Ingress", "Egress"]}},
        ),
        (
            f"/apis/policy/v1/{NS}/poddisruptionbudgets",
            {"metadata": {"name": "b"}, "spec": {"minAvailable": 1}},
            {
                "status": dict.fromkeys(
                    ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"), 0
                )
            },
        ),
        (
            f"/api/v1/{NS}/limitranges",
            {"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}},
            {
                "spec": {
                    "limits": [
                        {
                            "type": "Container",
                            "max": {"cpu": "2"},
                            "default": {"cpu": "2"},
                            "defaultRequest": {"cpu": "2"},
                        }
                    ]
                }
            },
        ),
        (
            f"/apis/rbac.authorization.k8s.io/v1/{NS}/roles",
            {"metadata": {"name": "none"}},
            {"rules": None},
        ),
        (
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            {"metadata": {"name": "p"}, "value": 5},
            {"preemptionPolicy": "PreemptLowerPriority"},
        ),
        (
            f"/apis/autoscaling/v2/{NS}/horizontalpodautoscalers",
            {
                "apiVersion": "autoscaling/v2",
                "kind": "HorizontalPodAutoscaler",
                "metadata": {"name": "h"},
                "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}},
            },
            {"status": {"desiredReplicas": 0, "currentMetrics": None}},
        ),
    ],
)
def test_a_kind_is_filled_in_as_its_server_does(
    wire: Wire, path: str, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    reply = wire.post(path, body)
    assert reply.status == 201
    assert {key: reply.body[key] for key in expected} == expected


def test_a_probe_is_filled_in(wire: Wire) -> None:
    container = {**CONTAINER, "livenessProbe": {"httpGet": {"port": 80}}}
    reply = wire.post(f"/api/v1/{NS}/pods", {"metadata": {"name": "p"}, "spec": {"containers": [container]}})
    assert reply.body["spec"]["containers"][0]["livenessProbe"] == {
        "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


def test_jobs_are_labelled_as_their_pods_and_templates_of_cronjobs_filled_in(wire: Wire) -> None:
    job = wire.post(f"/apis/batch/v1/{NS}/jobs", {"metadata": {"name": "j"}, "spec": JOB}).body
    assert job["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"]
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": JOB}}
    cron = wire.post(f"/apis/batch/v1/{NS}/cronjobs", {"metadata": {"name": "c"}, "spec": spec}).body
    template = cron["spec"]["jobTemplate"]
    assert template["metadata"] == {} == template["spec"]["template"]["metadata"]
    assert template["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 30


@pytest.mark.parametrize(
    ("path", "body", "causes"),
    [
        (
            f"/api/v1/{NS}/events",
            _event("other"),
            {"involvedObject.namespace": 'Invalid value: "other": does not match event.namespace'},
        ),
        (
            f"/api/v1/{NS}/pods",
            {
                "metadata": {"name": "bad"},
                "spec": {
                    "restartPolicy": "Z",
                    "containers": [
                        {"name": "c"},
                        {**CONTAINER, "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
                    ],
                },
            },
            {
                "spec.containers[0].image": "Required value",
                "spec.containers[1].name": 'Duplicate value: "c"',
                "spec.containers[1].volumeMounts[0].name": 'Not found: "v"',
                "spec.restartPolicy": ('Unsupported value: "Z": supported values: "Always", "Never", "OnFailure"'),
            },
        ),
        (
            f"/apis/apps/v1/{NS}/deployments",
            {"metadata": {"name": "d"}, "spec": {}},
            {
                "spec.selector": "Required value",
                "spec.template.metadata.labels": (
                    "Invalid value: null: `selector` does not match template `labels`"
                ),
                "spec.template.spec.containers": "Required value",
            },
        ),
        (
            f"/apis/apps/v1/{NS}/deployments",
            {
                "metadata": {"name": "d"},
                "spec": {
                    "selector": {"matchLabels": {"a": "c"}},
                    "template": {"metadata": {"labels": {"a": "b"}}, "spec": POD},
                },
            },
            {
                "spec.template.metadata.labels": (
                    'Invalid value: {"a":"b"}: `selector` does not match template `labels`'
                )
            },
        ),
        (
            f"/apis/batch/v1/{NS}/jobs",
            {"metadata": {"name": "always"}, "spec": {"template": {"spec": POD}}},
            {"spec.template.spec.restartPolicy": 'Required value: valid values: "OnFailure", "Never"'},
        ),
        (
            f"/apis/batch/v1/{NS}/cronjobs",
            {"metadata": {"name": "short"}, "spec": {"schedule": "* * *", "jobTemplate": {"spec": JOB}}},
            {"spec.schedule": 'Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]'},
        ),
        (
            f"/apis/coordination.k8s.io/v1/{NS}/leases",
            {"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": -1}},
            {"spec.leaseDurationSeconds": "Invalid value: -1: must be greater than 0"},
        ),
        (
            f"/api/v1/{NS}/persistentvolumeclaims",
            {
                "metadata": {"name": "c"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "0"}}},
            },
            {"spec.resources[storage]": 'Invalid value: "0": must be greater than zero'},
        ),
        (
            f"/apis/rbac.authorization.k8s.io/v1/{NS}/roles",
            {
                "metadata": {"name": "r"},
                "rules": [{"verbs": []}, {"verbs": ["get"], "nonResourceURLs": ["/x"]}],
            },
            {
                "rules[0].verbs": "Required value: verbs must contain at least one value",
                "rules[0].apiGroups": "Required value: resource rules must supply at least one api group",
                "rules[0].resources": "Required value: resource rules must supply at least one resource",
                "rules[1].nonResourceURLs": (
                    'Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs'
                ),
            },
        ),
        (
            f"/api/v1/{NS}/configmaps",
            {"metadata": {"name": "big"}, "data": {"k": "x" * 1048577}},
            {"[]": "Too long: may not be more than 1048576 bytes"},
        ),
        (
            f"/api/v1/{NS}/secrets",
            {"metadata": {"name": "big"}, "stringData": {"k": "x" * 1048577}},
            {"data": "Too long: may not be more than 1048576 bytes"},
        ),
        (
            f"/api/v1/{NS}/configmaps",
            {"metadata": {"name": "f", "finalizers": ["mine"]}},
            {
                "metadata.finalizers[0]": (
                    'Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified'
                )
            },
        ),
    ],
)
def test_a_kind_is_refused_with_every_cause(
    wire: Wire, path: str, body: dict[str, Any], causes: dict[str, str]
) -> None:
    reply = wire.post(path, body)
    assert reply.status == 422
    assert {cause["field"]: cause["message"] for cause in reply.body["details"]["causes"]} == causes


def test_data_up_to_a_mebibyte_is_taken(wire: Wire) -> None:
    body = {"metadata": {"name": "full"}, "stringData": {"k": "x" * 1048576}}
    assert wire.post(f"/api/v1/{NS}/secrets", body).status == 201


def test_a_pod_keeps_its_spec_but_for_images(wire: Wire) -> None:
    path = f"/api/v1/{NS}/pods"
    wire.post(path, {"metadata": {"name": "kept"}, "spec": POD})
    image = {"containers": [{**CONTAINER, "image": "registry.example/c:2"}]}
    assert wire.merge(f"{path}/kept", {"spec": image}).status == 200
    refused = wire.merge(f"{path}/kept", {"spec": {"hostname": "other"}})
    assert (refused.status, refused.body["details"]["causes"][0]["field"]) == (422, "spec")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            {"propagationPolicy": "Up"},
            'Unsupported value: "Up": supported values: "Foreground", "Background", "Orphan", "nil"',
        ),
        (
            {"propagationPolicy": "Orphan", "orphanDependents": True},
            'Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set',
        ),
    ],
)
def test_how_to_delete_is_checked(wire: Wire, options: dict[str, Any], why: str) -> None:
    reply = wire.delete(f"/api/v1/{NS}/configmaps/kube-root-ca.crt", options)
    assert reply.body["message"] == f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: {why}'


def test_query_parameters_are_read_as_go_reads_them(wire: Wire) -> None:
    path = f"/api/v1/{NS}/configmaps"
    for query in ("timeoutSeconds=x", "watch=1&timeoutSeconds=1.5"):
        assert wire.get(f"{path}?{query}").status == 400
    assert wire.get(f"{path}?watch=FALSE").body["kind"] == "ConfigMapList"
    # Whatever is not "false" or "0" is true.
    assert wire.get(f"{path}?watch=maybe&timeoutSeconds=1").raw.startswith(b'{"type":"ADDED"')


def test_rows_of_a_table_carry_what_is_asked_for(wire: Wire) -> None:
    path, table = f"/api/v1/{NS}/configmaps", "application/json;as=Table;g=meta.k8s.io;v=v1"
    assert wire.get(f"{path}?includeObject=None", accept=table).body["rows"][0]["object"] is None
    refused = wire.get(f"{path}?includeObject=Some", accept=table)
    assert (refused.status, refused.body["message"]) == (400, 'unrecognized includeObject value: "Some"')


def test_a_token_ends_with_the_pod_it_is_bound_to(wire: Wire) -> None:
    path = f"/api/v1/{NS}/serviceaccounts/default/token"

    def ask(**reference: str) -> Any:
        return wire.post(path, {"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", **reference}}})

    assert ask(name="absent").body["message"] == 'pods "absent" not found'
    wire.post(f"/api/v1/{NS}/pods", {"metadata": {"name": "bound"}, "spec": POD})
    assert ask(name="bound", uid="other").status == 409
    token = {"spec": {"token": ask(name="bound").body["status"]["token"]}}
    reviews = "/apis/authentication.k8s.io/v1/tokenreviews"
    status = wire.post(reviews, token).body["status"]
    assert status["authenticated"] is True
    assert list(status["user"]["extra"]) == ["authentication.kubernetes.io/credential-id"]
    wire.delete(f"/api/v1/{NS}/pods/bound", {"gracePeriodSeconds": 0})
    assert "authenticated" not in wire.post(reviews, token).body["status"]
