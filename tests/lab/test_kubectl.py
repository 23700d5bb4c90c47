"""Real kubectl, driven against the practice cluster.

Where it is not on PATH these tests say so and do not run; CI has it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vmkit.lab import Lab

pytestmark = [
    pytest.mark.kubectl,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="misses the program kubectl"),
]

VM = """
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: web, labels: {app: web}}
spec:
  runStrategy: Always
  template:
    metadata: {labels: {app: web}}
    spec:
      domain:
        devices: {disks: [{name: root, disk: {bus: virtio}}], interfaces: [{name: default, masquerade: {}}]}
        memory: {guest: 1Gi}
      networks: [{name: default, pod: {}}]
      volumes: [{name: root, containerDisk: {image: "registry.example/disk:1"}}]
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: dep}
spec:
  replicas: 2
  selector: {matchLabels: {app: dep}}
  template:
    metadata: {labels: {app: dep}}
    spec: {containers: [{name: c, image: "nginx:1"}]}
"""

NUMBERS = itertools.count(1)

Kubectl = Callable[..., str]


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    home = tmp_path_factory.mktemp("home")
    with Lab(speed=120, seed=3) as lab:
        environment = {**os.environ, "KUBECONFIG": lab.kubeconfig, "HOME": str(home)}

        def run(*words: str, text: str = "", code: int = 0, editor: str = "") -> str:
            done = subprocess.run(
                ["kubectl", *words],
                env={**environment, "KUBE_EDITOR": editor},
                input=text,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == code, done.stderr + done.stdout
            return done.stdout + done.stderr

        run("apply", "-f", "-", text=VM)
        yield run
        assert lab.world.context.failures == []


@pytest.fixture
def config(kubectl: Kubectl) -> Iterator[str]:
    name = f"config-{next(NUMBERS)}"
    kubectl("create", "configmap", name, "--from-literal=k=v")
    yield name
    kubectl("delete", "configmap", name, "--ignore-not-found")


def manifest(name: str, value: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: {value}}}\n"


def test_it_finds_every_kind(kubectl):
    names = kubectl("api-resources", "-o", "name").split()
    assert {"pods", "virtualmachines.kubevirt.io", "cephclusters.ceph.rook.io"} <= set(names)


@pytest.mark.parametrize(
    "output", ["wide", "yaml", "json", "name", "jsonpath={.metadata.name}", "custom-columns=N:.metadata.name"]
)
def test_it_gets_in_every_output(kubectl, output):
    assert "web" in kubectl("get", "vm", "web", "-o", output)


def test_it_waits_for_a_vm_and_describes_it(kubectl):
    assert "condition met" in kubectl("wait", "vm/web", "--for=condition=Ready", "--timeout=30s")
    assert "SuccessfulCreate" in kubectl("describe", "vm", "web")
    assert "SuccessfulCreate" in kubectl("events", "--for", "vm/web")
    assert "virt-launcher-web" in kubectl("get", "pods")


def test_it_applies_diffs_and_sees_what_did_not_change(kubectl):
    assert "created" in kubectl("apply", "-f", "-", text=manifest("applied", "one"))
    assert "unchanged" in kubectl("apply", "-f", "-", text=manifest("applied", "one"))
    assert "+  k: two" in kubectl("diff", "-f", "-", text=manifest("applied", "two"), code=1)
    assert "configured" in kubectl("apply", "-f", "-", text=manifest("applied", "two"))


def test_it_applies_server_side_and_meets_conflicts(kubectl, config):
    other = manifest(config, "other")
    refused = kubectl("apply", "--server-side", "--field-manager=x", "-f", "-", text=other, code=1)
    assert 'conflict with "kubectl-create" using v1: .data.k' in refused
    taken = kubectl("apply", "--server-side", "--field-manager=x", "--force-conflicts", "-f", "-", text=other)
    assert "serverside-applied" in taken


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("merge", '{"data":{"n":"1"}}'),
        ("strategic", '{"data":{"n":"1"}}'),
        ("json", '[{"op":"add","path":"/data/n","value":"1"}]'),
    ],
)
def test_it_patches_in_every_way(kubectl, config, kind, patch):
    kubectl("patch", "configmap", config, f"--type={kind}", "-p", patch)
    assert kubectl("get", "configmap", config, "-o", "jsonpath={.data.n}") == "1"


def test_it_edits_by_script(kubectl, config):
    assert "edited" in kubectl("edit", "configmap", config, editor="sed -i s/k:.v/k:\\ w/")
    assert kubectl("get", "configmap", config, "-o", "jsonpath={.data.k}") == "w"


def test_it_explains_built_in_and_custom_kinds(kubectl):
    assert "containers" in kubectl("explain", "pod.spec")
    assert "FIELD: runStrategy <string>" in kubectl("explain", "vm.spec.runStrategy")


def test_it_asks_who_may_do_what(kubectl):
    assert kubectl("auth", "can-i", "create", "vm").strip() == "yes"
    assert kubectl("auth", "can-i", "list", "pods", "--as=eve", code=1).strip() == "no"
    assert "lab-admin" in kubectl("auth", "whoami")


def test_it_scales_and_rolls_out(kubectl):
    kubectl("apply", "-f", "-", text=DEPLOYMENT)
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/dep", "--timeout=30s")
    assert "scaled" in kubectl("scale", "deployment/dep", "--replicas=3")
    kubectl("wait", "deployment/dep", "--for=jsonpath={.status.readyReplicas}=3", "--timeout=30s")
    kubectl("delete", "deployment", "dep")


def test_it_watches(kubectl, config):
    seen = kubectl("get", "configmap", config, "-w", "--request-timeout=1s", "-o", "name")
    assert f"configmap/{config}" in seen


def test_it_makes_and_ends_namespaces(kubectl):
    assert "created" in kubectl("create", "namespace", "short-lived")
    assert "deleted" in kubectl("delete", "namespace", "short-lived", "--timeout=30s")


def test_the_kubeconfig_is_its_users_alone():
    with Lab() as lab:
        assert Path(lab.kubeconfig).stat().st_mode & 0o077 == 0
