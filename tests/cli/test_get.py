from __future__ import annotations

import json

import pytest

from tests.cli.running import Run
from tests.power.vms import create, create_running, manifest, stopped, wait_until
from vmkit.cluster import Session
from vmkit.lab import Lab

pytestmark = pytest.mark.timeout(90)


def _put_malformed(lab: Lab, namespace: str, name: str) -> None:
    """An object older than the checks that would refuse it today: no spec.template, a number for a strategy."""
    rtype = lab.world.registry.get("kubevirt.io", "virtualmachines")
    odd = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{namespace}-{name}",
            "creationTimestamp": "2020-01-01T00:00:00Z",
            "resourceVersion": "1",
        },
        "spec": {"runStrategy": 7},
    }
    lab.call(lambda: lab.store.restore(rtype, odd))


def test_the_list_joins_vms_with_their_instances(vmkit: Run, session: Session) -> None:
    create_running(session, manifest("web-1", labels={"vmkit.io/template": "debian"}))
    wait_until(session, create(session, manifest("web-2")), stopped)
    ran = vmkit("get")
    assert (ran.code, ran.err) == (0, "")
    header, first, second = (line.split() for line in ran.out.splitlines())
    assert header == ["NAME", "STATUS", "READY", "AGE", "STRATEGY", "NODE", "IP", "TEMPLATE"]
    assert first[:3] == ["web-1", "Running", "True"]
    assert first[4] == "Manual"
    assert first[5].startswith("worker-")
    assert first[6].count(".") == 3
    assert first[7] == "debian"
    assert second[:3] == ["web-2", "Stopped", "False"]
    assert second[4:] == ["Manual", "<none>", "<none>", "<none>"]
    assert "-" not in first[3]  # an age, by the cluster's clock, is never negative


def test_names_selectors_and_orders(vmkit: Run, session: Session, namespace: str) -> None:
    refs = create(session, *[manifest(f"web-{n}", labels={"app": f"a{n}"}) for n in (1, 2, 3)])
    wait_until(session, refs, stopped)
    assert vmkit("get", "web-3", "web-1", "-o", "name").out.split() == [
        "virtualmachine.kubevirt.io/web-3",
        "virtualmachine.kubevirt.io/web-1",
    ]
    assert vmkit("get", "-l", "app!=a2", "--sort-by", "name", "-o", "name").out.count("\n") == 2
    assert vmkit("get", "--no-headers").out.count("\n") == 3
    everywhere = vmkit("get", "-A").out.splitlines()
    assert everywhere[0].split()[0] == "NAMESPACE"
    assert sum(line.startswith(namespace) for line in everywhere) == 3
    assert vmkit("get", "-A", "-l", "app=a1", "-o", "name").out == f"{namespace}/web-1\n"


def test_many_names_are_read_from_one_list(vmkit: Run, session: Session) -> None:
    refs = create(session, *[manifest(f"web-{n}") for n in range(12)])
    wait_until(session, refs, stopped)
    ran = vmkit("get", *[f"web-{n}" for n in reversed(range(12))], "gone-1", "-o", "name")
    assert ran.code == 1
    assert ran.out.split() == [f"virtualmachine.kubevirt.io/web-{n}" for n in reversed(range(12))]
    assert "there is no VM gone-1" in ran.err


def test_nothing_there_is_said_on_stderr_and_no_error(vmkit: Run, namespace: str) -> None:
    ran = vmkit("get")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == f"there is no VM in namespace {namespace}\n"
    assert vmkit("get", "-l", "a=b").err == f"there is no VM in namespace {namespace} that matches a=b\n"
    assert json.loads(vmkit("get", "-o", "json").out)["items"] == []
    assert vmkit("get", "-q").err == ""


def test_verbose_says_which_cluster_was_asked_and_how_long_it_took(vmkit: Run, session: Session) -> None:
    ran = vmkit("get", "-v")
    assert ran.err.startswith(f"cluster {session.server}, namespace {session.namespace}\n")
    assert ran.err.rstrip().endswith(" s")
    assert vmkit("get", "-v", "-q").err == vmkit("get").err


def test_a_vm_that_is_not_there(vmkit: Run, session: Session, namespace: str) -> None:
    ran = vmkit("get", "web-9")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.splitlines()[1] == f"hint: vmkit get -n {namespace} lists those there are"
    document = json.loads(vmkit("get", "web-9", "-o", "json").out)
    assert (document["status"], document["errors"][0]["code"]) == ("failed", "NotFound")


def test_a_malformed_vm_is_a_row_with_its_problem_and_the_exit_code_says_so(
    vmkit: Run, lab: Lab, session: Session, namespace: str
) -> None:
    wait_until(session, create(session, manifest("web-1")), stopped)
    _put_malformed(lab, namespace, "odd-1")
    ran = vmkit("get")
    assert ran.code == 1
    header, odd, sound = ran.out.splitlines()
    assert header.split()[-1] == "PROBLEM"
    assert odd.split()[0] == "odd-1"
    assert "spec.template is missing" in odd
    assert sound.split()[0] == "web-1"
    assert f"error: VM {namespace}/odd-1 cannot be understood: " in ran.err
    document = json.loads(vmkit("get", "-o", "json").out)
    assert (document["status"], document["exitCode"], len(document["items"])) == ("partial", 1, 2)
    assert vmkit("describe", "odd-1").out.splitlines()[2].startswith("Problem:")
    stop = vmkit("stop", "--all")
    assert stop.code == 1
    assert f"{namespace}/odd-1 not stopped" in stop.err
    assert f"{namespace}/web-1 unchanged" in stop.out


def test_describe_shows_disks_events_and_what_verbs_would_do(vmkit: Run, session: Session, namespace: str) -> None:
    create_running(session, manifest("web-1", disk=True))
    ran = vmkit("describe", "web-1")
    assert (ran.code, ran.err) == (0, "")
    text = ran.out
    assert f"Namespace:      {namespace}\n" in text
    assert "Status:         Running, ready\n" in text
    assert "\n  root   dataVolume   web-1-root   1 GiB" in text
    assert "Started the virtual machine" in text
    assert "\n  stop           possible: it is running\n" in text
    assert "<invalid>" not in text
    (item,) = json.loads(vmkit("describe", "web-1", "-o", "json").out)["items"]
    assert item["volumes"][0]["phase"] == "Succeeded"
    assert {event["object"]["kind"] for event in item["events"]} >= {"VirtualMachine", "VirtualMachineInstance"}


def test_the_same_answer_in_every_format(vmkit: Run, session: Session) -> None:
    import yaml

    wait_until(session, create(session, manifest("web-1")), stopped)
    assert yaml.safe_load(vmkit("get", "-o", "yaml").out) == json.loads(vmkit("get", "-o", "json").out)
    assert vmkit("get", "-o", "csv").out.splitlines()[1].split(",")[1:3] == ["web-1", "Stopped"]
    assert vmkit("get", "-o", "wide").out.splitlines()[1].startswith("web-1   Stopped")


def test_names_are_completed_from_the_cluster(vmkit: Run, session: Session, namespace: str) -> None:
    create(session, manifest("web-1"), manifest("web-2"), manifest("db-1"))

    def complete(line: str) -> list[str]:
        words = line.split()
        at = str(len(words) if line.endswith(" ") else len(words) - 1)
        ran = vmkit(env={"_VMKIT_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": at})
        assert (ran.code, ran.err) == (0, "")
        return [entry.partition(",")[2] for entry in ran.out.splitlines() if entry]

    assert complete("vmkit stop we") == ["web-1", "web-2"]
    assert complete("vmkit stop web-1 ") == ["db-1", "web-2"]
    assert complete("vmkit -n default stop ") == []
    assert complete(f"vmkit get -n {namespace[:6]}")[:1] != []
    assert namespace in complete("vmkit get -n test-")
