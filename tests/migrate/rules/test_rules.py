"""Every rule from both sides: a guest where it applies, and its neighbour where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.migrate.guests import DEBIAN, ELF_X86_64, F, Files, FileSpec, Link, facts_of, service, unit, with_source
from vmkit.migrate.facts import DiskPart, Facts
from vmkit.migrate.machine import Machine, read_machine
from vmkit.migrate.rules.catalogue import BY_ID, RULES
from vmkit.migrate.rules.model import Category, Scope, Target
from vmkit.migrate.verdict import decide_verdict

ELF_I686 = b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x02\x00\x03\x00" + bytes(44)


def app(*lines: str, command: str = "/srv/app/run --port 8080", user: str = "app") -> Files:
    return {**service("app", unit(command, *lines, user=user)), "/srv/app/run": ELF_X86_64}


def wsgi(source: str = "", *lines: str, extra: dict[str, FileSpec] | None = None) -> Files:
    """A service that may become a component, with something added to it."""
    return {
        **service("web", unit("/usr/bin/gunicorn -b :8000 web:app", "WorkingDirectory=/srv/web", *lines)),
        "/srv/web/web.py": f"import json\n{source}\ndef app(environ, start_response): ...\n",
        **(extra or {}),
    }


def package(*names: str) -> Files:
    status = DEBIAN["/var/lib/dpkg/status"]
    assert isinstance(status, str)
    return {
        "/var/lib/dpkg/status": status
        + "".join(f"Package: {name}\nStatus: install ok installed\nVersion: 1\n\n" for name in names)
    }


def vm(**domain: Any) -> Machine:
    spec = domain.pop("spec", {})
    return read_machine(
        {
            "metadata": {"namespace": "shop", "name": "web-1"},
            "spec": {"template": {"spec": {"domain": domain, **spec}}},
        }
    )


Side = Files | tuple[Files, Machine] | Callable[[], Facts]


def volume(**attributes: Any) -> Callable[[], Facts]:
    part = DiskPart(name="vda2", size_bytes=1, **attributes)
    return lambda: with_source(facts_of(app()), volumes=[part])


NGINX = service("nginx", unit("/usr/sbin/nginx", user=""))
SITE = {"/etc/nginx/nginx.conf": "http { server { listen 80; root /var/www; } }", "/var/www/index.html": "x"}
CRON = {"/etc/cron.d/job": "* * * * * app /srv/app/job\n"}

# rule: (where it applies, where it does not)
CASES: dict[str, tuple[Side, Side]] = {
    "container.windows": ((app(), vm(features={"hyperv": {}})), (app(), vm(features={"acpi": {}}))),
    "container.architecture": ({**app(), "/usr/lib/systemd/systemd": ELF_I686}, app()),
    "container.encrypted-disk": (volume(filesystem="crypto_LUKS", problem="encrypted"), volume(filesystem="ext4")),
    "container.unread-volume": (volume(filesystem="btrfs", problem="not read"), volume(filesystem="swap")),
    "container.kernel-module": (
        {**app(), "/etc/modules-load.d/a.conf": "# x\nzfs\n"},
        {**app(), "/etc/modules-load.d/a.conf": "# zfs\nvirtio_net\n"},
    ),
    "container.dkms": ({**app(), "/var/lib/dkms/driver/1.0/source": ""}, {**app(), "/var/lib/dkms/mok/x": ""}),
    "container.custom-kernel": (
        {**app(), **package("linux-image-amd64"), "/boot/vmlinuz-6.1-mine": "x"},
        {**app(), **package("linux-image-amd64"), "/boot/vmlinuz-6.1": "x",
         "/var/lib/dpkg/info/linux-image-amd64.list": "/boot/vmlinuz-6.1\n"},
    ),
    "container.sysctl": (
        {**app(), "/etc/sysctl.d/a.conf": "vm.overcommit_memory = 1\n"},
        {**app(), "/etc/sysctl.d/a.conf": "#vm.overcommit_memory=1\nkernel.printk = 3 4 1 3\n"},
    ),
    "container.router": (
        {**app(), "/etc/sysctl.conf": "net.ipv4.ip_forward=1\n"}, {**app(), "/etc/sysctl.conf": "net.ipv4.ip_forward=0\n"},
    ),
    "container.firewall": (
        {**app(), "/etc/iptables/rules.v4": "*filter\n-A INPUT -p tcp --dport 22 -j ACCEPT\n"},
        {**app(), "/etc/iptables/rules.v4": "*filter\n:INPUT ACCEPT [0:0]\n"},
    ),
    "container.nfs-server": ({**app(), "/etc/exports": "/srv *(rw)\n"}, {**app(), "/etc/exports": "# /srv\n"}),
    "container.block-storage": (
        {**app(), **service("iscsid", unit("/sbin/iscsid"))}, {**app(), **service("iscsid-exporter", unit("/x"))},
    ),
    "container.cluster-stack": ({**app(), **service("pacemaker", unit("/x"))}, app()),
    "container.engine-inside": (
        {**app(), **service("docker", unit("/usr/bin/dockerd"))}, {**app(), **service("docker-docs", unit("/x"))},
    ),
    "container.desktop": ({**app(), **service("gdm3", unit("/x"))}, app()),
    "container.directory-server": ({**app(), **service("samba-ad-dc", unit("/x"))}, {**app(),
    **service("smbd", unit("/x"))}),
    "container.device": (app("DeviceAllow=/dev/ttyS0 rw"), app("DeviceAllow=/dev/null rw")),
    "container.selinux-module": (
        {**app(), "/etc/selinux/config": "SELINUX=enforcing\n", "/var/lib/selinux/targeted/active/modules/400/mine/cil": ""},
        {**app(), "/etc/selinux/config": "SELINUX=permissive\n", "/var/lib/selinux/targeted/active/modules/400/mine/cil": ""},
    ),
    "container.hardware-licence": (
        {**app(), "/opt/cad/app.lic": "SERVER host 0013d4e5f6a7\n"}, {**app(), "/opt/cad/app.lic": "expires never\n"},
    ),
    "container.licence-file": ({**app(), "/opt/cad/app.lic": "expires never\n"}, {**app(),
    "/opt/cad/app.txt": "x"}),
    "container.fixed-address": (
        app(command="/srv/app/run --bind 10.0.0.5:80"), app(command="/srv/app/run --bind 127.0.0.1:80"),
    ),
    "container.network-mount": (
        {**app(), "/etc/fstab": "nas:/x /mnt nfs4 rw\n"}, {**app(), "/etc/fstab": "LABEL=x /mnt ext4 rw\n"},
    ),
    "container.hosts-entry": (
        {**app(), "/etc/hosts": "10.0.0.9 db.internal\n"}, {**app(), "/etc/hosts": "127.0.1.1 me\n::1 localhost\n"},
    ),
    "container.ssh-users": (
        {**app(), **service("ssh", unit("/usr/sbin/sshd")), "/etc/passwd": "alice:x:1000:1000::/home/alice:/bin/bash\n"},
        {**app(), "/etc/passwd": "alice:x:1000:1000::/home/alice:/bin/bash\n"},
    ),
    "container.passthrough": (
        (app(), vm(devices={"gpus": [{"name": "g", "deviceName": "nvidia.com/T4"}]})), (app(), vm(devices={"disks": []})),
    ),
    "container.sriov": (
        (app(), vm(devices={"interfaces": [{"name": "a", "sriov": {}}]})),
        (app(), vm(devices={"interfaces": [{"name": "a", "masquerade": {}}]})),
    ),
    "container.shared-disk": (
        (app(), vm(devices={"disks": [{"name": "d", "shareable": True}]})), (app(), vm(devices={"disks": [{"name": "d"}]})),
    ),
    "container.confidential": ((app(), vm(launchSecurity={"sev": {}})), (app(), vm())),
    "container.tpm": ((app(), vm(devices={"tpm": {}})), (app(), vm(devices={}))),
    "container.pinned-cpu": (
        (app(), vm(cpu={"dedicatedCpuPlacement": True})), (app(), vm(cpu={"dedicatedCpuPlacement": False, "cores": 2})),
    ),
    "container.hugepages": ((app(), vm(memory={"hugepages": {"pageSize": "2Mi"}})), (app(),
    vm(memory={"guest": "1Gi"}))),
    "container.second-network": (
        (app(), vm(spec={"networks": [{"name": "b", "multus": {"networkName": "vlan7"}}]})),
        (app(), vm(spec={"networks": [{"name": "a", "pod": {}}]})),
    ),
    "container.database": (service("postgresql", unit("/bin/true")), service("postgrest", unit("/x"))),
    "container.in-memory-store": (
        service("redis-server", unit("/usr/bin/redis-server")), service("redis-exporter", unit("/x")),
    ),
    "container.shared-state": (
        {**service("a", unit("/a", "StateDirectory=shop")), **service("b", unit("/b", "StateDirectory=shop"))},
        {**service("a", unit("/a", "StateDirectory=shop")), **service("b", unit("/b", "StateDirectory=other"))},
    ),
    "container.unix-socket": (
        {"/etc/systemd/system/e.socket": "[Socket]\nListenStream=/run/e.sock\n",
         "/etc/systemd/system/e.service": unit("/e"),
         "/etc/systemd/system/sockets.target.wants/e.socket": Link("/etc/systemd/system/e.socket")},
        {"/etc/systemd/system/e.socket": "[Socket]\nListenStream=7000\n",
         "/etc/systemd/system/e.service": unit("/e"),
         "/etc/systemd/system/sockets.target.wants/e.socket": Link("/etc/systemd/system/e.socket")},
    ),
    "container.root-user": (app(user=""), app(user="app")),
    "container.low-port": (app(command="/srv/app/run --port 80"), app(command="/srv/app/run --port 8080")),
    "container.state": (app("StateDirectory=app"), app("CacheDirectory=app", "LogsDirectory=app")),
    "container.big-data": (
        {**app("StateDirectory=app"), "/var/lib/app/a": F("x", size=101 * 2**30)},
        {**app("StateDirectory=app"), "/var/lib/app/a": F("x", size=99 * 2**30)},
    ),
    "container.sparse-data": (
        {**app("StateDirectory=app"), "/var/lib/app/a": F("x", size=2 * 2**30)},
        {**app("StateDirectory=app"), "/var/lib/app/a": F("x", size=2**20)},
    ),
    "container.secrets": (app("Environment=TOKEN=x"), app("Environment=COLOR=x")),
    "container.job": (CRON, app()),
    "container.start-script": (app("Type=forking"), app("Type=notify")),
    "container.depends-on": (
        {**service("a", "[Unit]\nRequires=b.service\n" + unit("/a")), **service("b", unit("/b"))},
        {**service("a", "[Unit]\nRequires=network.target\n" + unit("/a")), **service("b", unit("/b"))},
    ),
    "container.capabilities": (app("AmbientCapabilities=CAP_NET_RAW"), app("CapabilityBoundingSet=CAP_NET_RAW")),
    "container.unknown-program": (app(command="/srv/gone"), app()),
    "container.no-known-port": (app(command="/srv/app/run"), app()),
    "container.mail-server": (service("postfix", unit("/x")), service("postgrey", unit("/x"))),
    "container.unit-problems": (app("nonsense"), app("Nice=5")),
    "wasm.not-a-service": (CRON, wsgi()),
    "wasm.one-http-port": (app(), wsgi()),
    "wasm.application": (app(), wsgi()),
    "wasm.entry-point": (
        {**service("web", unit("/usr/bin/gunicorn -b :8000", "WorkingDirectory=/srv/web"))}, wsgi(),
    ),
    "wasm.local-state": (wsgi("", "StateDirectory=web"), wsgi()),
    "wasm.file-writes": (wsgi("open('x', 'w')"), wsgi("open('x')")),
    "wasm.processes": (wsgi("import os\nos.system('x')"), wsgi("import os\nos.getenv('x')")),
    "wasm.imports": (wsgi("import ssl"), wsgi("import urllib.parse")),
    "wasm.unresolved-imports": (
        wsgi("import flask"),
        wsgi("import flask", extra={"/usr/lib/python3/dist-packages/flask/__init__.py": "import html\n"}),
    ),
    "wasm.native-modules": (
        wsgi(extra={"/srv/web/fast.cpython-311-x86_64-linux-gnu.so": ELF_X86_64}), wsgi(extra={"/srv/web/fast.py": "x = 1"}),
    ),
    "wasm.dynamic-code": (wsgi("eval('1')"), wsgi("int('1')")),
    "wasm.incomplete-scan": (wsgi(extra={"/srv/web/old.py": "print 'x'"}),
    wsgi(extra={"/srv/web/new.py": "print('x')"})),
    "wasm.size": (
        {**NGINX, **SITE, "/var/www/video": F("x", size=21 * 2**20)}, {**NGINX, **SITE, "/var/www/video": F("x", size=2**20)},
    ),
    "wasm.many-sites": (
        {**NGINX, "/etc/nginx/nginx.conf": "http { server { listen 80; root /a; } server { listen 80; root /b; } }",
         "/a/x": "", "/b/x": ""},
        {**NGINX, **SITE},
    ),
    "wasm.secrets": (wsgi("", "Environment=API_KEY=x"), wsgi()),
}  # fmt: skip


def applies(rule: str, side: Side) -> bool:
    machine = None
    if callable(side):
        facts = side()
    else:
        files = side
        if isinstance(side, tuple):
            files, machine = side
        assert not isinstance(files, tuple)
        facts = facts_of(files)
    verdict = decide_verdict(facts, machine=machine)
    found = {one.rule.id for one in verdict.guest_findings}
    for judged in verdict.services:
        found |= {one.rule.id for target in judged.targets for one in target.findings}
    return rule in found


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_applies_where_it_should_and_only_there(rule: str) -> None:
    yes, no = CASES[rule]
    assert applies(rule, yes)
    assert not applies(rule, no)


def test_no_rule_is_without_its_two_guests() -> None:
    assert set(CASES) == set(BY_ID)


def test_rules_are_well_formed() -> None:
    assert len(BY_ID) == len(RULES)
    for rule in RULES:
        assert rule.id.startswith(f"{rule.target}."), rule.id
        assert rule.assessment, rule.id
        assert rule.remedy, rule.id
        assert not rule.assessment.endswith("."), rule.id
        # Blockers decide and infos inform: neither has a weight; the others must have one.
        assert (rule.weight == 0) == (rule.category in (Category.BLOCKER, Category.INFO)), rule.id
        assert rule.scope is Scope.SERVICE or rule.target is Target.CONTAINER, rule.id


def test_every_finding_says_where_it_was_read() -> None:
    facts = facts_of(
        app("StateDirectory=app", "Environment=TOKEN=x"), {"/etc/modules": "zfs\n"}, wsgi("import ssl")
    )
    verdict = decide_verdict(facts)
    findings = [*verdict.guest_findings, *(one for s in verdict.services for t in s.targets for one in t.findings)]
    placeless = [
        one.rule.id
        for one in findings
        for hit in one.hits
        if not hit.evidence and one.rule.id != "wasm.native-modules"
    ]
    assert placeless == []


def test_a_clean_wsgi_service_is_a_candidate_and_nothing_more() -> None:
    [web] = decide_verdict(facts_of(wsgi())).services
    wasm = web.target(Target.WASM)
    assert (str(web.recommendation), str(wasm.fit), wasm.score, wasm.proven) == (
        "wasm",
        "Excellent fit",
        100,
        "candidate",
    )
