"""The commands about schedules, against a practice cluster whose clock stands."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import yaml
from click.testing import CliRunner

from tests.schedule_run.world import OFFICE, World
from vmkit.cli.main import cli
from vmkit.cluster.resources import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, VIRTUAL_MACHINES
from vmkit.schedule.parse import parse_schedule
from vmkit.schedule.running.importing import SLEEP_INFOS, read_sleep_info

Vmkit = Callable[..., tuple[int, str]]


@pytest.fixture
def vmkit(shop: World) -> Vmkit:
    def invoke(*arguments: str) -> tuple[int, str]:
        env = {"VMKIT_KUBECONFIG": shop.lab.kubeconfig, "VMKIT_NAMESPACE": "shop"}
        result = CliRunner().invoke(cli, list(arguments), env=env)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return invoke


def test_run_says_what_it_did_and_how_to_take_it_back(shop: World, vmkit: Vmkit) -> None:
    shop.create("web")
    assert vmkit("schedule", "run")[0] == 0
    shop.to(18)
    code, said = vmkit("schedule", "run", "--dry-run")
    assert (code, "shop/web would be stopped" in said) == (0, True)
    code, said = vmkit("schedule", "run", "-A")
    assert "shop/web stopped: the schedule asks for a stop at 2026-02-02T18:00:00Z" in said
    assert shop.power("web") == "Stopped"
    run_id = said.partition("vmkit undo ")[2].split()[0]
    code, said = vmkit("history", "web", "-o", "json")
    (entry,) = json.loads(said)["items"]
    assert (entry["run"], entry["verb"]) == (run_id, "stop")
    assert "would be started" in vmkit("undo", run_id, "--dry-run")[1]
    code, said = vmkit("undo", run_id)
    assert (code, "shop/web started" in said) == (0, True)
    assert shop.power("web") == "Running"
    assert vmkit("schedule", "run", "-A")[0] == 0
    assert shop.power("web") == "Running"
    assert "touched" not in vmkit("history", "web")[1]
    code, said = vmkit("undo", run_id)
    assert "has done a start since" in said
    assert vmkit("undo", "20260101T000000Z-000000")[0] == 3


def test_what_somebody_touched_since_is_not_undone(shop: World, vmkit: Vmkit) -> None:
    shop.create("web")
    shop.run()
    shop.to(18)
    run_id = shop.run().notices[-1].split()[1].rstrip(":")
    shop.advance(minutes=5)
    shop.call("web", "start")
    shop.call("web", "stop")
    code, said = vmkit("undo", run_id)
    assert (code, "its spec has been changed since" in said) == (0, True)
    assert shop.power("web") == "Stopped"


def test_overrides_end_by_themselves(shop: World, vmkit: Vmkit) -> None:
    shop.create("up")
    shop.create("skips")
    shop.create("out")
    shop.run()
    shop.to(17)
    shop.run()
    assert vmkit("schedule", "keep-up", "up", "--for", "3h")[0] == 0
    assert "2026-02-02T18:00:00Z is left out" in vmkit("schedule", "skip-next", "skips")[1]
    assert vmkit("schedule", "exclude-until", "out", "--until", "2026-02-03T00:00:00Z")[0] == 0
    assert vmkit("schedule", "keep-up", "up")[0] == 2
    assert vmkit("schedule", "keep-up", "up", "--until", "2026-02-01T00:00:00Z")[0] == 2
    assert vmkit("schedule", "keep-down", "none", "--for", "1h")[0] == 3
    shop.to(18, 1)
    shop.run()
    assert {shop.power(name) for name in ("up", "skips", "out")} == {"Running"}
    shop.to(20, 1)
    shop.run()
    assert [shop.power(name) for name in ("up", "skips", "out")] == ["Stopped", "Running", "Running"]
    assert "no more" in vmkit("schedule", "keep-up", "up", "--clear")[1]
    assert "unchanged" in vmkit("schedule", "keep-up", "up", "--clear")[1]


def test_explain_says_who_decided_and_what_comes(shop: World, vmkit: Vmkit) -> None:
    shop.create("web")
    shop.run()
    code, said = vmkit("schedule", "explain", "web", "--at", "2026-02-02T12:00:00Z", "--next", "2")
    assert code == 0
    assert "vmkit.io/schedule on VirtualMachine shop/web (vm): Mon-Fri 08:00-18:00 UTC" in said
    assert "stop        Mon 2026-02-02 18:00 UTC" in said
    document = json.loads(vmkit("schedule", "explain", "web", "-o", "json")[1])["items"][0]
    assert document["decidedBy"]["scope"] == "vm"
    assert "never" not in vmkit("schedule", "explain", "always")[1]
    assert vmkit("schedule", "explain", "Mon 25:00")[0] == 2


def test_lint_needs_no_cluster() -> None:
    result = CliRunner().invoke(cli, ["schedule", "lint", "Mon-Fri 08:00-23:59 UTC"])
    assert (result.exit_code, "MinuteBeforeMidnight" in result.output) == (1, True)
    assert CliRunner().invoke(cli, ["schedule", "lint", OFFICE]).exit_code == 0
    assert CliRunner().invoke(cli, ["schedule", "lint", "Mon-Fry 8"]).exit_code == 2


def test_a_week_is_simulated_on_the_cluster_s_own_vms(shop: World, vmkit: Vmkit) -> None:
    shop.create("web", labels={"team": "red"})
    shop.create("risky", safe=False)
    shop.create("free", None)
    shop.run()
    arguments = ("schedule", "run", "--simulate", "7d", "--at", "2026-02-02T08:30:00Z", "--owner-label", "team")
    before = shop.look("web").resource_version
    items = {item["name"]: item for item in json.loads(vmkit(*arguments, "-o", "json")[1])["items"]}
    assert set(items) == {"web", "risky"}
    # Four nights of 14 hours, the weekend from Friday evening to Monday morning: 62.
    assert items["web"]["hoursOff"] == 4 * 14 + 62
    assert len(items["web"]["steps"]) == 10
    assert items["risky"]["hoursOff"] == 0
    assert "containerDisk" in items["risky"]["note"]
    said = vmkit(*arguments)[1]
    assert "red     1     118.0" in said
    assert shop.look("web").resource_version == before


def test_the_switch_is_turned_by_a_command(shop: World, vmkit: Vmkit) -> None:
    shop.create("web")
    shop.run()
    shop.to(18)
    assert vmkit("schedule", "suspend", "--switch", "shop/vmkit-switch")[0] == 0
    assert "suspends every change" in vmkit("schedule", "run", "--switch", "shop/vmkit-switch")[1]
    assert shop.power("web") == "Running"
    assert vmkit("schedule", "resume", "--switch", "shop/vmkit-switch")[0] == 0
    assert "shop/web stopped" in vmkit("schedule", "run", "--switch", "shop/vmkit-switch")[1]


def test_other_tools_schedules_are_read_and_said_in_vmkit_s_words(shop: World, vmkit: Vmkit) -> None:
    names = {"plural": "sleepinfos", "singular": "sleepinfo", "kind": "SleepInfo", "listKind": "SleepInfoList"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": schema}
    shop.session.create(
        CUSTOM_RESOURCE_DEFINITIONS,
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "sleepinfos.kube-green.com"},
            "spec": {"group": "kube-green.com", "names": names, "scope": "Namespaced", "versions": [version]},
        },
    )
    shop.advance(seconds=5)
    spec = {"weekdays": "1-5", "sleepAt": "20:00", "wakeUpAt": "08:00", "timeZone": "Europe/Rome"}
    document = {
        "apiVersion": SLEEP_INFOS.api_version,
        "kind": "SleepInfo",
        "metadata": {"name": "s"},
        "spec": spec,
    }
    shop.session.create(SLEEP_INFOS, {**document, "spec": spec})
    shop.create("web", None)
    marks = {"downscaler/uptime": OFFICE}
    shop.session.patch(VIRTUAL_MACHINES, "web", {"metadata": {"annotations": marks}})
    shop.session.patch(NAMESPACES, "shop", {"metadata": {"annotations": {
        "downscaler/uptime": OFFICE, "downscaler/downtime": "Sat-Sun 00:00-24:00 UTC"}}})  # fmt: skip
    code, said = vmkit("schedule", "import", "-o", "manifests")
    assert code == 1
    namespace, vm = yaml.safe_load_all(said)
    text = namespace["metadata"]["annotations"]["vmkit.io/schedule"]
    assert text == "start cron(00 08 * * 1-5) Europe/Rome; stop cron(00 20 * * 1-5) Europe/Rome"
    assert vm["metadata"]["annotations"] == {"vmkit.io/schedule": OFFICE}
    assert "downtime and uptime cannot be said in one schedule" in vmkit("schedule", "import")[1]
    assert parse_schedule(read_sleep_info({**spec, "wakeUpAt": None})).is_one_sided
