"""What is generated keeps what the unit said, carries no secrets and no state, and nothing of a guest gets out of hand."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.migrate.guests import ELF_X86_64, F, Files, Link, guest, service, tree_of, unit, write_files
from vmkit.cli.main import cli
from vmkit.errors import EvidenceError, Refused
from vmkit.migrate.facts import Facts, OperatingSystem, Source
from vmkit.migrate.generate.folder import Generated, Options, write_artifacts
from vmkit.migrate.generate.image import choose_base, plan_image, render_containerfile
from vmkit.migrate.generate.manifests import to_cron, to_label
from vmkit.migrate.generate.payload import write_payload
from vmkit.migrate.inspect.guest import inspect_tree
from vmkit.migrate.services import build_services
from vmkit.migrate.verdict import decide_verdict

SHOP = {
    **service(
        "shop",
        unit(
            "/srv/shop/run --port 80",
            "Group=app", "WorkingDirectory=/srv/shop", "StateDirectory=shop", "MemoryMax=300M", "CPUQuota=50%",
            "TimeoutStopSec=20", "KillSignal=SIGINT", "AmbientCapabilities=CAP_NET_RAW", "Environment=COLOR=blue",
            "EnvironmentFile=/srv/shop/env", "ExecStartPre=/srv/shop/prepare",
        ),
    ),
    "/srv/shop/run": F(ELF_X86_64, mode=0o755, uid=998, gid=997),
    "/srv/shop/current": Link("run"),
    "/srv/shop/pages/a b.html": "x",
    "/srv/shop/env": "API_TOKEN=hunter2\nMODE=prod\n",
    "/srv/shop/key.pem": "-----BEGIN PRIVATE KEY-----\nhunter2\n",
    "/srv/shop/__pycache__/x.pyc": "x",
    "/var/lib/shop/data": F("state", size=3 * 2**30),
}  # fmt: skip


def made(tmp_path: Path, *parts: Files, **options: Any) -> tuple[list[Generated], Path]:
    tree = tree_of(guest(*parts))
    facts = inspect_tree(tree, Source(kind="directory", location="guest"))
    target = tmp_path / "out"
    found = write_artifacts(
        tree, facts, decide_verdict(facts), target, Options(registry="reg.example/x/", **options)
    )
    return found, target


def objects(folder: Path) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in yaml.safe_load_all((folder / "manifests.yaml").read_text())}


def test_a_service_with_state_keeps_what_its_unit_said(tmp_path: Path) -> None:
    [shop], target = made(tmp_path, SHOP, storage_class="ceph-block")
    assert shop.image == "reg.example/x/shop:latest"
    found = objects(target / "shop")
    assert set(found) == {"ConfigMap", "StatefulSet", "Service", "NetworkPolicy"}
    assert found["ConfigMap"]["data"] == {"COLOR": "blue", "MODE": "prod"}
    spec = found["StatefulSet"]["spec"]
    pod = spec["template"]["spec"]
    assert pod["securityContext"] == {
        "seccompProfile": {"type": "RuntimeDefault"}, "runAsUser": 998, "runAsGroup": 997, "runAsNonRoot": True,
        "fsGroup": 997, "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
    }  # fmt: skip
    assert pod["terminationGracePeriodSeconds"] == 20
    [container] = pod["containers"]
    assert container["resources"] == {"limits": {"memory": "300Mi", "cpu": "500m"}}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_RAW"]}
    assert container["workingDir"] == "/srv/shop"
    assert container["envFrom"] == [{"configMapRef": {"name": "shop"}}, {"secretRef": {"name": "shop"}}]
    assert container["readinessProbe"]["tcpSocket"] == {"port": "tcp-80"}
    assert container["volumeMounts"] == [{"name": "data-0", "mountPath": "/var/lib/shop"}]
    [claim] = spec["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "6Gi"
    assert claim["spec"]["storageClassName"] == "ceph-block"
    assert found["Service"]["spec"]["ports"][0]["port"] == 80
    assert found["Service"]["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    assert found["NetworkPolicy"]["spec"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": 80}]}]
    text = (target / "shop" / "Containerfile").read_text()
    assert text.startswith("FROM docker.io/library/debian:12-slim\n")
    assert "USER 998:997\n" in text
    assert "STOPSIGNAL SIGINT\n" in text
    assert text.endswith('CMD ["/srv/shop/run", "--port", "80"]\n')
    assert any("/srv/shop/prepare" in note for note in shop.notes)
    assert any("/var/lib/shop (3221225472 bytes)" in note for note in shop.notes)


def test_secrets_and_state_are_in_no_file(tmp_path: Path) -> None:
    [shop], target = made(tmp_path, SHOP)
    assert shop.secrets == ("API_TOKEN",)
    assert yaml.safe_load((target / "shop" / "secret.yaml").read_text())["stringData"] == {"API_TOKEN": ""}
    assert "shop/secret.yaml" not in (target / "kustomization.yaml").read_text()
    for path in target.rglob("*"):
        if path.is_file():
            assert b"hunter2" not in path.read_bytes(), path
    with tarfile.open(target / "shop" / "payload.tar") as archive:
        members = {one.name: one for one in archive}
        assert sorted(members) == [
            "srv/shop", "srv/shop/current", "srv/shop/pages", "srv/shop/pages/a b.html", "srv/shop/run",
        ]  # fmt: skip
        run = members["srv/shop/run"]
        assert (run.mode, run.uid, run.gid) == (0o755, 998, 997)
        assert archive.extractfile(run).read() == ELF_X86_64  # type: ignore[union-attr]
        assert members["srv/shop/current"].linkname == "run"


def test_a_service_without_state_is_a_deployment(tmp_path: Path) -> None:
    _, target = made(tmp_path, {**service("web", unit("/srv/web/run --port 8080")), "/srv/web/run": ELF_X86_64})
    found = objects(target / "web")
    assert set(found) == {"Deployment", "Service", "NetworkPolicy"}
    assert "sysctls" not in found["Deployment"]["spec"]["template"]["spec"]["securityContext"]
    assert not (target / "web" / "secret.yaml").exists()


def test_jobs_are_suspended_until_cut_over(tmp_path: Path) -> None:
    found, target = made(
        tmp_path,
        {
            "/etc/cron.d/report": "*/5 * * * * app /srv/report/run --all > /dev/null\n@reboot app /srv/report/run\n",
            "/srv/report/run": ELF_X86_64,
            "/etc/systemd/system/backup.timer": "[Timer]\nOnCalendar=Mon..Fri 03:30\n",
            "/etc/systemd/system/backup.service": "[Service]\nType=oneshot\nUser=app\nExecStart=/srv/report/run -b\n",
            "/etc/systemd/system/timers.target.wants/backup.timer": Link("/etc/systemd/system/backup.timer"),
        },
    )
    assert [(one.service, one.skipped) for one in found] == [
        ("backup", ""), ("cron-report-1", ""), ("cron-report-2", ""),
    ]  # fmt: skip
    jobs = {
        name: objects(target / name)["CronJob"]["spec"] for name in ("backup", "cron-report-1", "cron-report-2")
    }
    assert all(job["suspend"] for job in jobs.values())
    assert [job["schedule"] for job in jobs.values()] == ["30 3 * * Mon-Fri", "*/5 * * * *", "0 0 31 2 *"]
    assert any("cannot be written as one cron schedule" in note for note in found[2].notes)
    text = (target / "cron-report-1" / "Containerfile").read_text()
    assert 'CMD ["/bin/sh", "-c", "/srv/report/run --all > /dev/null"]' in text
    with tarfile.open(target / "cron-report-1" / "payload.tar") as archive:
        assert "srv/report/run" in archive.getnames()


def test_what_does_not_fit_is_left_in_the_vm_with_its_reason(tmp_path: Path) -> None:
    found, target = made(tmp_path, SHOP, {"/etc/modules": "zfs\n"})
    assert [one.skipped for one in found] == [
        "it loads kernel modules; a pod runs on its node's kernel [container.kernel-module]"
    ]
    assert not (target / "shop").exists()
    assert "Stays in the VM" in (target / "README.md").read_text()


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        (service("a", unit("/srv/a/run --password hunter2")), "holds a secret"),
        (service("a", unit("/srv/a/run", user="ghost")), "its user ghost"),
        ({**service("a", unit("/srv/a/run")), "/etc/os-release": "ID=unheard\n"}, "no base image"),
    ],
)
def test_what_cannot_be_built_is_not_written(parts: Files, why: str, tmp_path: Path) -> None:
    [found], _ = made(tmp_path, {"/srv/a/run": ELF_X86_64}, parts)
    assert why in found.skipped


def test_variables_in_a_command_are_left_to_a_shell(tmp_path: Path) -> None:
    _, target = made(
        tmp_path,
        {**service("a", unit("/srv/a/run --port ${PORT}", "Environment=PORT=9000")), "/srv/a/run": ELF_X86_64},
    )
    assert (
        'CMD ["/bin/sh", "-c", "exec /srv/a/run --port ${PORT}"]' in (target / "a" / "Containerfile").read_text()
    )


def test_what_listens_on_loopback_is_not_probed_from_outside(tmp_path: Path) -> None:
    [found], target = made(
        tmp_path, {**service("a", unit("/srv/a/run --bind 127.0.0.1:9000")), "/srv/a/run": ELF_X86_64}
    )
    container = objects(target / "a")["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert "readinessProbe" not in container
    assert set(objects(target / "a")) == {"Deployment", "NetworkPolicy"}
    assert found.notes == ("it listens on 127.0.0.1:9000, which nobody outside of the pod reaches",)


def test_nginx_stays_in_the_foreground_with_its_own_configuration(tmp_path: Path) -> None:
    _, target = made(
        tmp_path,
        {
            **service("nginx", unit("/usr/sbin/nginx -g 'daemon on;'", "Type=forking", user="")),
            "/usr/sbin/nginx": ELF_X86_64,
            "/etc/nginx/nginx.conf": "http { server { listen 80; root /var/www/site; } }",
            "/var/www/site/index.html": "x",
            "/var/lib/dpkg/info/nginx.list": "/usr/sbin/nginx\n",
        },
    )
    text = (target / "nginx" / "Containerfile").read_text()
    assert "install -y --no-install-recommends nginx" in text
    assert 'CMD ["nginx", "-g", "daemon off;"]' in text
    with tarfile.open(target / "nginx" / "payload.tar") as archive:
        names = archive.getnames()
    assert {"etc/nginx/nginx.conf", "var/www/site/index.html"} <= set(names)
    assert "usr/sbin/nginx" not in names


@pytest.mark.parametrize(
    "name", ["x; touch owned", "$(id)", "a`b`", "-o", "a b", "é"],
)  # fmt: skip
def test_package_names_of_a_guest_are_no_shell(name: str, tmp_path: Path) -> None:
    [found], _ = made(
        tmp_path,
        {
            **service("a", unit("/usr/bin/tool --port 80")),
            "/usr/bin/tool": ELF_X86_64,
            f"/var/lib/dpkg/info/{name}.list": "/usr/bin/tool\n",
        },
    )
    assert "these are no names of packages" in found.skipped


@pytest.mark.parametrize(
    ("system", "base"),
    [
        (OperatingSystem(family="debian", id="debian", version="12"), "docker.io/library/debian:12-slim"),
        (OperatingSystem(family="debian", id="ubuntu", version="22.04"), "docker.io/library/ubuntu:22.04"),
        (OperatingSystem(family="rhel", id="rocky", version="9.4"), "docker.io/rockylinux/rockylinux:9"),
        (OperatingSystem(family="alpine", id="alpine", version="3.19.1"), "docker.io/library/alpine:3.19"),
        (OperatingSystem(family="debian", id="derivative", version="7"), "docker.io/library/debian:stable-slim"),
        (
            OperatingSystem(family="debian", id="debian", version="12 AS evil"),
            "docker.io/library/debian:stable-slim",
        ),
        (OperatingSystem(family="other", id="unheard"), ""),
    ],
)
def test_base_images_go_by_distribution_then_by_family(system: OperatingSystem, base: str) -> None:
    assert choose_base(system) == base


@pytest.mark.parametrize(
    ("calendar", "cron"),
    [
        ("daily", "@daily"), ("hourly", "@hourly"), ("*-*-* 06:30", "30 6 * * *"), ("*-*-* 06:30:00", "30 6 * * *"),
        ("Sun *-*-* 03:10", "10 3 * * Sun"), ("Mon,Wed 12:00", "0 12 * * Mon,Wed"), ("*-*-01 00:00", "0 0 1 * *"),
        ("*:15", "15 * * * *"), ("*-*-* 6,18:00", None), ("2027-01-01", None), ("nonsense", None),
    ],
)  # fmt: skip
def test_calendars_become_cron_schedules_or_nothing(calendar: str, cron: str | None) -> None:
    assert to_cron(calendar) == cron


def test_names_are_labels() -> None:
    assert to_label("cron-My_Job.sh-3") == "cron-my-job-sh-3"
    assert to_label("worker@mail") == "worker-mail"
    assert to_label("***") == "workload"
    assert len(to_label("x" * 100)) == 52


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(Refused, match="there already"):
        made(tmp_path, SHOP)
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["mine"]


def test_files_without_end_are_not_copied(tmp_path: Path) -> None:
    tree = tree_of(guest(SHOP, {"/srv/shop/huge": F("x", size=2**40)}))
    facts: Facts = inspect_tree(tree, Source(kind="directory", location="guest"))
    plan = plan_image(facts, build_services(facts)[0])
    with pytest.raises(EvidenceError, match="more than 1000 bytes"):
        write_payload(tree, plan, tmp_path / "payload.tar", max_bytes=1000)
    assert "FROM" in render_containerfile(plan, "debian")


def test_the_same_guest_gives_the_same_bytes(tmp_path: Path) -> None:
    _, first = made(tmp_path / "a", SHOP)
    _, second = made(tmp_path / "b", SHOP)
    for path in first.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (second / path.relative_to(first)).read_bytes(), path


def test_the_command_line(tmp_path: Path) -> None:
    files = guest({**service("web", unit("/srv/web/run --port 8080")), "/srv/web/run": ELF_X86_64})
    files["/sbin/init"] = Link("../usr/lib/systemd/systemd")
    root = write_files(tmp_path / "root", files)
    arguments = ["migrate", "generate", str(root), "--registry", "reg.example/x"]
    done = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"web: {tmp_path}/out/web (container, 1 files)\n"
    again = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / "out")])
    assert again.exit_code == 5
    unknown = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / "other"), "--service", "nope"])
    assert unknown.exit_code == 2
    assert "hint: there are web" in unknown.stderr
    assert json.dumps(yaml.safe_load((tmp_path / "out" / "kustomization.yaml").read_text())["resources"]) == (
        '["web/manifests.yaml"]'
    )
