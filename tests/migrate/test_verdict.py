"""Words, scores, overrides, waves: one source for everything that is said about a guest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.migrate.guests import ELF_X86_64, facts_of, service, unit
from vmkit.errors import ExitCode, UsageError
from vmkit.migrate.assessment import Assessed, assessment_to_dict, fleet_to_dict, plan_waves
from vmkit.migrate.facts import Facts, Source
from vmkit.migrate.machine import read_machine
from vmkit.migrate.rules.model import Target
from vmkit.migrate.show import render_assessment, render_facts, render_fleet
from vmkit.migrate.verdict import Fit, Recommendation, decide_verdict, word_for, worst_exit_code

APP = {**service("app", unit("/srv/app/run --port 8080")), "/srv/app/run": ELF_X86_64}
ROUTER = {"/etc/sysctl.conf": "net.ipv4.ip_forward=1\n"}


@pytest.mark.parametrize(
    ("score", "word"),
    [(100, "Excellent fit"), (95, "Excellent fit"), (94, "Good fit with findings"), (80, "Good fit with findings"),
     (79, "Needs minimal work"), (65, "Needs minimal work"), (64, "Needs moderate work"), (45, "Needs moderate work"),
     (44, "Needs major work"), (0, "Needs major work")],
)  # fmt: skip
def test_the_words_of_scores(score: int, word: str) -> None:
    assert str(word_for(score)) == word


def test_a_blocker_decides_and_an_override_sets_it_aside() -> None:
    facts = facts_of(APP, ROUTER)
    blocked = decide_verdict(facts)
    assert blocked.fit is Fit.NO_FIT
    assert blocked.reason == "it forwards packets for others: a router, gateway, DHCP or VPN server"
    assert blocked.services[0].recommendation is Recommendation.VM
    assert blocked.exit_code is ExitCode.SOME_FAILED
    allowed = decide_verdict(facts, overrides=["container.router"])
    assert allowed.fit is Fit.EXCELLENT
    assert allowed.exit_code is ExitCode.OK
    assert allowed.overrides == ("container.router",)
    [finding] = allowed.guest_findings
    assert (finding.rule.id, finding.overridden) == ("container.router", True)
    assert "Set aside: container.router" in render_assessment(Assessed("x", facts, allowed))
    with pytest.raises(UsageError, match="there is no rule"):
        decide_verdict(facts, overrides=["container.nonsense"])


def test_weights_add_up() -> None:
    facts = facts_of(
        {**service("app", unit("/srv/app/run --port 80", "StateDirectory=app", "Environment=TOKEN=x")),
         "/srv/app/run": ELF_X86_64}
    )  # fmt: skip
    [app] = decide_verdict(facts).services
    container = app.target(Target.CONTAINER)
    assert {one.rule.id for one in container.findings} == {
        "container.low-port", "container.state", "container.secrets",
    }  # fmt: skip
    assert container.score == 85
    assert container.fit is Fit.GOOD


def test_too_little_is_said_to_be_too_little() -> None:
    nothing = decide_verdict(Facts(source=Source(kind="disk", location="x")))
    assert (nothing.fit, nothing.exit_code) == (Fit.INSUFFICIENT, ExitCode.EVIDENCE)
    empty = decide_verdict(facts_of())
    assert (empty.fit, empty.reason) == (
        Fit.INSUFFICIENT, "no workload was found on the disk; look at the running VM too",
    )  # fmt: skip


def test_the_guest_is_as_hard_as_its_hardest_workload() -> None:
    facts = facts_of(APP, service("postgresql", unit("/bin/true")))
    verdict = decide_verdict(facts)
    assert verdict.fit is Fit.MINIMAL
    assert verdict.reason == "2 services and 0 jobs; the hardest is postgresql"


def test_the_api_alone_says_no_fit_or_too_little() -> None:
    plain = read_machine({"metadata": {"name": "a"}, "spec": {"template": {"spec": {"domain": {}}}}})
    facts = Facts(source=Source(kind="cluster", location="a"))
    assert decide_verdict(facts, machine=plain).fit is Fit.INSUFFICIENT
    gpu = read_machine(
        {"spec": {"template": {"spec": {"domain": {"devices": {"gpus": [{"name": "g", "deviceName": "T4"}]}}}}}}
    )
    assert decide_verdict(facts, machine=gpu).fit is Fit.NO_FIT


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["metadata", "spec", "template", "domain", "devices", "cpu", "cores", "memory", "guest", "gpus",
                         "disks", "interfaces", "networks", "labels", "name", "features", "resources",
                         "requests"]),
        inner, max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["metadata", "spec"]), JUNK))
def test_no_manifest_breaks_the_reader(manifest: dict[str, object]) -> None:
    machine = read_machine(manifest)
    assert machine.vcpus is None or machine.vcpus >= 1


def test_a_machines_size_is_read() -> None:
    machine = read_machine(
        {
            "metadata": {"namespace": "n", "name": "a"},
            "spec": {
                "template": {"spec": {"domain": {"cpu": {"cores": 2, "sockets": 2}, "memory": {"guest": "4Gi"}}}}
            },
        }
    )
    assert (machine.namespace, machine.name, machine.vcpus, machine.memory_bytes) == ("n", "a", 4, 4 * 2**30)
    typed = read_machine({"spec": {"instancetype": {"name": "u1.small"}, "template": {"spec": {"domain": {}}}}})
    assert (typed.vcpus, typed.memory_bytes) == (None, None)


def fleet() -> list[Assessed]:
    def one(name: str, memory: str, facts: Facts) -> Assessed:
        machine = read_machine(
            {
                "metadata": {"namespace": "shop", "name": name},
                "spec": {"template": {"spec": {"domain": {"cpu": {"cores": 2}, "memory": {"guest": memory}}}}},
            }
        )
        return Assessed(f"shop/{name}", facts, decide_verdict(facts, machine=machine), machine)

    unknown = Facts(source=Source(kind="cluster", location="x"))
    return [
        one("unknown", "64Gi", unknown),
        one("router", "1Gi", facts_of(APP, ROUTER)),
        one("small", "1Gi", facts_of(APP)),
        one("database", "8Gi", facts_of(service("postgresql", unit("/bin/true")))),
        one("large", "16Gi", facts_of(APP)),
    ]


def test_waves_go_by_fit_then_by_what_comes_back() -> None:
    assert [(one.name, one.wave) for one in plan_waves(fleet())] == [
        ("shop/large", 1), ("shop/small", 1), ("shop/database", 2), ("shop/unknown", None), ("shop/router", None),
    ]  # fmt: skip
    document = fleet_to_dict(fleet())
    assert [(one["wave"], one["vms"], one["vcpus"], one["memoryBytes"]) for one in document["waves"]] == [
        (1, 2, 4, 17 * 2**30), (2, 1, 2, 8 * 2**30), (3, 0, 0, 0),
    ]  # fmt: skip
    text = render_fleet(fleet(), wide=True)
    assert "Wave 1: 2 VMs give back 4 vCPUs, 17 GiB" in text
    assert worst_exit_code(one.verdict for one in fleet()) is ExitCode.SOME_FAILED
    assert worst_exit_code([]) is ExitCode.OK


def test_texts_of_a_guest_cannot_reach_the_terminal() -> None:
    facts = facts_of({**service("x\x1b[2J", unit("/srv/\x1b]0;t\x07")), "/etc/hostname": "\x1b[31m"})
    verdict = decide_verdict(facts)
    shown = render_facts(facts) + render_assessment(Assessed("n\x1b[1m", facts, verdict))
    assert "\x1b" not in shown
    assert "\x1b" not in str(assessment_to_dict(Assessed("n\x1b[1m", facts, verdict)))
