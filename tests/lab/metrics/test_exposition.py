import itertools
import re
from datetime import timedelta

import pytest

from tests.lab.storage_world import World
from vmkit.lab.fleet.load import load_fleet
from vmkit.lab.metrics import install
from vmkit.lab.metrics.openmetrics import sample_times
from vmkit.lab.metrics.service import decode_facts, encode_facts

DAY = 86400
SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)\{(.*)\} (\S+)(?: (\S+))?$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Lab:
    def __init__(self, count):
        self.world = World(kubevirt=True)
        self.world.context.options["seed"] = 1
        self.service = install(self.world.context)
        self.plans = load_fleet(self.world.context, count, seed=1)
        self.world.advance(120)

    @property
    def now(self):
        return self.world.clock.now().timestamp()

    def read(self, times, *only, **facts):
        return parse("".join(self.service.facts(**facts).exposition().render(times, only=only)))


def parse(text):
    """{(name, labels): [(time, value)]}, with the rules of OpenMetrics checked on the way."""
    assert text.endswith("# EOF\n")
    found, families, family, last = {}, set(), "", None
    for line in text.splitlines()[:-1]:
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert family not in families, f"{family} comes twice"
            families.add(family)
            assert kind in ("counter", "gauge")
        elif not line.startswith("# HELP "):
            match = SAMPLE.match(line)
            assert match, line
            name, labels, value, at = match.groups()
            assert name in (family, f"{family}_total"), line
            assert (name == f"{family}_total") == (kind == "counter"), line
            key = (name, tuple(LABEL.findall(labels)))
            assert key == last or key not in found, f"{name} is interrupted"
            last = key
            found.setdefault(key, []).append((float(at) if at else None, float(value)))
    return found


@pytest.fixture(scope="module")
def lab():
    return Lab(60)


def series(found, metric, /, **labels):
    return {
        key: values
        for key, values in found.items()
        if key[0] == metric and all(pair in key[1] for pair in labels.items())
    }


def running(lab):
    return next(
        plan for plan in lab.plans if plan.state == "running" and plan.agent and plan.load == "office-hours"
    )


def test_every_running_guest_has_its_series(lab):
    found = lab.read([lab.now])
    alive = {
        (entry.key.namespace, entry.key.name)
        for entry in lab.world.store.entries(lab.world.registry.get("kubevirt.io", "virtualmachineinstances"))
        if b'"phase":"Running"' in entry.data
    }
    seen = {
        (dict(key[1])["namespace"], dict(key[1])["name"])
        for key in series(found, "kubevirt_vmi_cpu_usage_seconds_total")
    }
    assert seen == alive
    assert {dict(key[1])["name"] for key in series(found, "kubevirt_vm_info")} == {plan.name for plan in lab.plans}


def test_labels_are_those_kubevirt_gives(lab):
    plan = running(lab)
    found = lab.read([lab.now])
    ((_name, labels),) = series(
        found, "kubevirt_vmi_memory_available_bytes", namespace=plan.namespace, name=plan.name
    )
    assert [key for key, _ in labels][:3] == ["node", "namespace", "name"]
    assert ("kubernetes_vmi_label_app", plan.role) in labels
    ((_, labels),) = series(found, "kubevirt_vm_info", namespace=plan.namespace, name=plan.name)
    assert {"status": "running", "status_group": "running"}.items() <= dict(labels).items()
    ((_, labels),) = series(found, "kubevirt_vmi_info", namespace=plan.namespace, name=plan.name)
    assert dict(labels)["vmi_pod"].startswith(f"virt-launcher-{plan.name}-")


def test_counters_never_fall_within_a_run_and_memory_adds_up(lab):
    times = sample_times(lab.now - 2 * DAY, lab.now, 7200)
    found = lab.read(times)
    for (name, labels), values in found.items():
        if name.endswith("_total"):
            numbers = [value for _, value in values]
            assert numbers == sorted(numbers), (name, labels)
    for (_, labels), values in series(found, "kubevirt_vmi_memory_usable_bytes").items():
        available = found["kubevirt_vmi_memory_available_bytes", labels]
        assert all(0 <= usable <= whole for (_, usable), (_, whole) in zip(values, available, strict=True))


def test_cpu_use_stays_within_the_vcpus(lab):
    times = sample_times(lab.now - 2 * DAY, lab.now, 300)
    found = lab.read(times, "kubevirt_vmi_cpu_usage_seconds_total")
    cores = {(plan.namespace, plan.name): plan.cores for plan in lab.plans}
    for (_, labels), values in found.items():
        named = dict(labels)
        limit = cores[named["namespace"], named["name"]] * 1.2
        for (before, low), (after, high) in itertools.pairwise(values):
            if after - before == 300:
                assert (high - low) / 300 <= limit


def test_the_same_range_gives_the_same_numbers_whenever_it_is_read(lab):
    times = sample_times(lab.now - DAY, lab.now - DAY / 2, 600)
    name = "kubevirt_vmi_network_receive_bytes_total"
    coarse = lab.read(times[::6], name)
    fine = lab.read(times, name)
    for key, values in coarse.items():
        assert set(values) <= set(fine[key])


def test_facts_travel_to_another_process(lab):
    facts = lab.service.facts()
    again = decode_facts(encode_facts(facts))
    assert "".join(again.exposition().render([lab.now])) == "".join(facts.exposition().render([lab.now]))


def test_a_stopped_guest_leaves_a_gap_not_zeros():
    lab = Lab(40)
    plan = running(lab)
    name = "kubevirt_vmi_cpu_usage_seconds_total"
    began = lab.now
    lab.world.advance(3600)
    vm = lab.world.get("kubevirt.io", "virtualmachines", plan.name, plan.namespace)
    strategy = vm["spec"].get("runStrategy")
    vm["spec"].pop("running", None)
    vm["spec"]["runStrategy"] = "Halted"
    lab.world.update(vm)
    lab.world.advance(3600)
    vm = lab.world.get("kubevirt.io", "virtualmachines", plan.name, plan.namespace)
    vm["spec"]["runStrategy"] = "Always"
    lab.world.update(vm)
    lab.world.advance(3600)
    found = series(
        lab.read(sample_times(began, lab.now, 300), name), name, namespace=plan.namespace, name=plan.name
    )
    stamps = sorted(at for values in found.values() for at, _ in values)
    gap = max(after - before for before, after in itertools.pairwise(stamps))
    assert 3000 < gap < 4500, strategy
    assert [at for at in stamps if at <= began + 3600]
    assert [at for at in stamps if at > began + 2 * 3600 + 300]


def test_energy_comes_in_the_generations_of_kepler(lab):
    now = [lab.now]
    pods = series(lab.read(now, kepler="pods"), "kepler_pod_cpu_joules_total", zone="package")
    containers = series(lab.read(now, kepler="containers"), "kepler_container_cpu_joules_total", zone="package")
    legacy = series(lab.read(now, kepler="legacy"), "kepler_container_joules_total", mode="dynamic")
    assert len(pods) == len(containers) == len(legacy) > 10
    assert not series(lab.read(now, kepler="pods"), "kepler_vm_cpu_joules_total")
    assert not [key for key in lab.read(now, kepler="none") if key[0].startswith("kepler")]
    named = [dict(key[1]) for key in pods]
    assert all(each["pod_name"].startswith("virt-launcher-") for each in named)
    assert all(dict(key[1])["pod_id"] == "" for key in containers)


def test_what_guests_use_is_what_their_nodes_use(lab):
    times = sample_times(lab.now - DAY, lab.now, 3600)
    found = lab.read(times, "kepler_pod_cpu_watts", "kepler_node_cpu_active_watts")
    pods = series(found, "kepler_pod_cpu_watts", zone="package")
    nodes = series(found, "kepler_node_cpu_active_watts", zone="package")
    at = times[-1]
    used = sum(value for values in pods.values() for moment, value in values if moment == at)
    drawn = sum(value for values in nodes.values() for moment, value in values if moment == at)
    assert used == pytest.approx(drawn, rel=1e-3)


def test_sessions_leave_the_time_of_the_last_one(lab):
    times = sample_times(lab.now - 14 * DAY, lab.now, 3600)
    found = lab.read(
        times, "kubevirt_vmi_last_api_connection_timestamp_seconds", "kubevirt_vnc_active_connections"
    )
    last = series(found, "kubevirt_vmi_last_api_connection_timestamp_seconds")
    assert last
    for values in last.values():
        assert all(ended <= at for at, ended in values)
        assert [ended for _, ended in values] == sorted(ended for _, ended in values)
    assert series(found, "kubevirt_vnc_active_connections")


def test_transitions_are_zero_for_the_groups_a_vm_is_not_in(lab):
    plan = running(lab)
    found = lab.read([lab.now])
    values = {
        group: next(
            iter(
                series(
                    found,
                    f"kubevirt_vm_{group}_status_last_transition_timestamp_seconds",
                    namespace=plan.namespace,
                    name=plan.name,
                ).values()
            )
        )[0][1]
        for group in ("running", "non_running", "starting", "error", "migrating")
    }
    assert values["running"] > 0
    assert [value for group, value in values.items() if group != "running"] == [0, 0, 0, 0]


def test_when_guests_ran_is_saved_and_loaded(lab):
    state = lab.service.to_state()
    times = sample_times(lab.now - DAY, lab.now, 3600)
    before = lab.read(times, "kubevirt_vmi_cpu_usage_seconds_total")
    lab.service.load_state(state)
    assert lab.read(times, "kubevirt_vmi_cpu_usage_seconds_total") == before


def test_sample_times_lie_on_whole_steps():
    assert sample_times(1, 10, 5) == [5, 10]
    assert sample_times(10, 1, 5) == []
    assert timedelta(seconds=sample_times(0, DAY, 3600)[-1]) == timedelta(days=1)
