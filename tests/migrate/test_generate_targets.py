"""Components, frozen images and the plan of the cut-over: right in themselves, and taken by a server."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.migrate.guests import ELF_X86_64, F, Files, guest, service, tree_of, unit
from vmkit.cli.main import cli
from vmkit.cluster import Session
from vmkit.migrate.facts import Source
from vmkit.migrate.generate.component import read_recipe
from vmkit.migrate.generate.folder import Generated, Options, write_artifacts
from vmkit.migrate.generate.image import ImageKind
from vmkit.migrate.inspect.guest import inspect_tree
from vmkit.migrate.oci.layout import read_layout
from vmkit.migrate.verdict import decide_verdict
from vmkit.migrate.wasm.spin import Scaling, SpinApp, build_service, build_spin_objects, render_spin_toml

WEB = {
    **service("web", unit("/usr/bin/python3 /srv/web/web.py", "Environment=COLOR=blue API_TOKEN=hunter2")),
    "/usr/bin/python3": ELF_X86_64,
    "/srv/web/web.py": (
        "from wsgiref.simple_server import make_server\nfrom parts.page import text\n"
        "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [text()]\n"
        "if __name__ == '__main__':\n    make_server('0.0.0.0', 8080, app).serve_forever()\n"
    ),
    "/srv/web/parts/__init__.py": "",
    "/srv/web/parts/page.py": "def text():\n    return b'page'\n",
    "/srv/web/parts/not-a-module.py": "x",
    "/srv/web/logo.svg": "<svg/>",
}
SITE = {
    **service("nginx", unit("/usr/sbin/nginx", "Type=forking", user="")),
    "/usr/sbin/nginx": ELF_X86_64,
    "/etc/nginx/nginx.conf": "http { server { listen 80; root /var/www/site; } }",
    "/etc/nginx/mime.types": "types {\n    application/javascript js mjs;\n}\n",
    "/var/www/site/index.html": F("<p>home</p>"),
    "/var/www/site/a.js": "x",
}
STATE = {
    **service("store", unit("/srv/store/run --port 9000", "StateDirectory=store")),
    "/srv/store/run": ELF_X86_64,
    "/var/lib/store/data": "hunter2",
}


def made(tmp_path: Path, *parts: Files, **options: Any) -> tuple[dict[str, Generated], Path]:
    tree = tree_of(guest(*parts))
    facts = inspect_tree(tree, Source(kind="directory", location="guest"))
    target = tmp_path / "out"
    found = write_artifacts(
        tree, facts, decide_verdict(facts), target, Options(registry="reg.example/x", **options)
    )
    return {one.service: one for one in found}, target


def documents(folder: Path) -> list[dict[str, Any]]:
    return [
        one for path in sorted(folder.rglob("*.yaml")) for one in yaml.safe_load_all(path.read_text())
        if one["kind"] != "Kustomization"
    ]  # fmt: skip


def test_a_component_is_built_of_the_applications_own_modules(tmp_path: Path) -> None:
    found, target = made(tmp_path, WEB)
    web = found["web"]
    assert (web.component, web.wasm_skipped) == ("reg.example/x/web-wasm:latest", "")
    wasm = target / "web" / "wasm"
    files = sorted(str(one.relative_to(wasm / "app")) for one in wasm.rglob("*.py"))
    assert files == ["parts/__init__.py", "parts/page.py", "web.py"]
    recipe = read_recipe(wasm / "build.json")
    assert recipe.entry_point == "web:app"
    assert (recipe.environment, recipe.secrets) == ({"COLOR": "blue"}, ("API_TOKEN",))
    toml = tomllib.loads((wasm / "spin.toml").read_text())
    assert toml["variables"] == {"api_token": {"required": True, "secret": True}}
    assert toml["component"]["web-wasm"]["environment"] == {"COLOR": "blue"}
    assert toml["component"]["web-wasm"]["variables"] == {"api_token": "{{ api_token }}"}
    assert not [path for path in target.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
    assert any("can open no files" in note for note in web.notes)


def test_a_site_is_carried_in_its_component_with_the_servers_types(tmp_path: Path) -> None:
    _, target = made(tmp_path, SITE)
    wasm = target / "nginx" / "wasm"
    guest_folder = Path(__file__).parents[2] / "vmkit" / "migrate" / "wasm" / "guest"
    script = (
        "import vmkit_site\nfrom vmkit_wsgi import build_environ, call_application\n"
        "for path in ('/', '/a.js', '/none'):\n"
        "    environ = build_environ(method='GET', target=path, scheme='http', authority='x', headers=[], body=b'')\n"
        "    status, headers, parts = call_application(vmkit_site.application, environ)\n"
        "    print(status, dict(headers)['content-type'], b''.join(parts))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": f"{wasm / 'app'}:{guest_folder}"},
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.decode().splitlines() == [
        "200 text/html b'<p>home</p>'", "200 application/javascript b'x'", "404 text/plain b'404 Not Found\\n'",
    ]  # fmt: skip


def test_what_keeps_state_gets_no_component_and_says_why(tmp_path: Path) -> None:
    found, target = made(tmp_path, STATE)
    assert "[wasm." in found["store"].wasm_skipped
    assert not (target / "store" / "wasm").exists()


def test_a_fetch_handler_gets_a_container_and_the_name_of_what_builds_its_component(tmp_path: Path) -> None:
    edge = {
        **service("edge", unit("/usr/bin/node /srv/edge/main.js --port 8080")),
        "/usr/bin/node": ELF_X86_64,
        "/srv/edge/main.js": "addEventListener('fetch', (event) => event.respondWith(new Response('x')));\n",
    }
    found, target = made(tmp_path, edge)
    assert found["edge"].image
    assert "jco" in found["edge"].wasm_skipped
    assert not (target / "edge" / "wasm").exists()


def test_a_frozen_image_needs_no_base_and_holds_no_state(tmp_path: Path) -> None:
    found, target = made(tmp_path, STATE, {"/etc/os-release": "ID=unheard\n"}, image=ImageKind.FROZEN)
    assert found["store"].frozen
    layout = read_layout(target / "store" / "image")
    config = json.loads(layout.path(layout.config).read_bytes())["config"]
    assert (config["Cmd"], config["User"]) == (["/srv/store/run", "--port", "9000"], "998:997")
    with tarfile.open(layout.path(layout.layers[0])) as archive:
        names = archive.getnames()
    assert {"srv/store/run", "var/lib/store"} <= set(names)
    assert "var/lib/store/data" not in names
    assert "vmkit migrate push store/image reg.example/x/store:latest" in (target / "README.md").read_text()


def test_the_plan_switches_the_vms_name_and_can_go_back(tmp_path: Path) -> None:
    cron = {"/etc/cron.d/report": "5 * * * * app /srv/store/run\n"}
    _, target = made(tmp_path, STATE, WEB, cron, vm="web-1", claim="web-1-root")
    plan = json.loads((target / "cutover.json").read_text())
    assert [one["id"] for one in plan["steps"]] == [
        "deploy", "copy-for-proof", "prove", "stop-writing", "copy-for-good", "switch", "resume-jobs", "stop-vm", "remove-vm",
    ]  # fmt: skip
    assert [one["id"] for one in plan["steps"] if one["interrupts"]] == ["stop-writing", "copy-for-good", "switch"]
    switched = yaml.safe_load((target / "service-of-vm.yaml").read_text())
    assert switched["metadata"]["name"] == "web-1"
    assert [(one["port"], one["targetPort"]) for one in switched["spec"]["ports"]] == [
        (8080, "tcp-8080"),
        (9000, "tcp-9000"),
    ]
    pods = [one["spec"]["template"] for one in documents(target) if one["kind"] in ("Deployment", "StatefulSet")]
    assert all(switched["spec"]["selector"].items() <= one["metadata"]["labels"].items() for one in pods)
    assert "service-of-vm.yaml" not in (target / "kustomization.yaml").read_text()
    text = (target / "CUTOVER.md").read_text()
    assert 'kubectl patch cronjob cron-report-1 --type=merge -p \'{"spec":{"suspend":false}}\'' in text


def test_without_a_claim_nothing_pretends_to_copy_data(tmp_path: Path) -> None:
    _, target = made(tmp_path, STATE)
    assert not (target / "store" / "data-copy.yaml").exists()
    assert "copy-for-proof" not in (target / "cutover.json").read_text()


def test_scaling_to_zero_goes_through_what_holds_requests() -> None:
    app = SpinApp(name="a-wasm", service="a", image="r/a:1", ports=[8080], scaling=Scaling.ZERO)
    spec = {one["kind"]: one["spec"] for one in build_spin_objects(app)}
    assert "replicas" not in spec["SpinApp"]
    assert spec["HTTPScaledObject"]["replicas"] == {"min": 0, "max": 10}
    assert spec["HTTPScaledObject"]["scaleTargetRef"]["name"] == "a-wasm"
    assert build_service(app)["spec"]["type"] == "ExternalName"
    fixed = SpinApp(name="a-wasm", service="a", image="r/a:1", ports=[8080], scaling=Scaling.FIXED)
    assert [one["kind"] for one in build_spin_objects(fixed)] == ["SpinAppExecutor", "SpinApp"]
    assert build_spin_objects(fixed)[1]["spec"]["replicas"] == 1
    assert build_service(fixed)["spec"]["ports"] == [
        {"name": "tcp-8080", "protocol": "TCP", "port": 8080, "targetPort": "http-app"}
    ]


@pytest.mark.parametrize("value", ['a"b', "a\\b", "a\nb", "\x7f", "é\u2028", "{{ x }}"])
def test_any_value_stands_in_spin_toml_as_it_is(value: str) -> None:
    app = SpinApp(name="a", service="a", image="", ports=[], environment={value: value})
    assert tomllib.loads(render_spin_toml(app))["component"]["a"]["environment"] == {value: value}


def test_a_server_takes_every_object(tmp_path: Path, session: Session, namespace: str) -> None:
    cron = {"/etc/cron.d/report": "5 * * * * app /srv/store/run\n"}
    _, target = made(
        tmp_path, STATE, WEB, SITE, cron, vm="web-1", claim="web-1-root", handler="spin-v2",
        storage_class="ceph-block", repository="https://git.example/x.git",
    )  # fmt: skip
    found = documents(target)
    kinds = {one["kind"] for one in found}
    assert {
        "SpinApp",
        "SpinAppExecutor",
        "HorizontalPodAutoscaler",
        "StatefulSet",
        "CronJob",
        "RuntimeClass",
    } <= kinds
    assert {"VolumeSnapshot", "Job", "NetworkPolicy", "ConfigMap", "Secret", "Application", "Service"} <= kinds
    # The webhook wants an app's executor to be there.
    [executor, *_] = [one for one in found if one["kind"] == "SpinAppExecutor"]
    session.apply(_placed(executor, namespace))
    for one in found:
        session.apply(_placed(one, namespace), dry_run=True, force=True)


def _placed(manifest: dict[str, Any], namespace: str) -> dict[str, Any]:
    place = {} if manifest["kind"] == "RuntimeClass" else {"namespace": namespace}
    return {**manifest, "metadata": {**manifest["metadata"], **place}}


def test_building_from_the_command_line_and_its_refusals(tmp_path: Path) -> None:
    empty = CliRunner().invoke(cli, ["migrate", "build", str(tmp_path)])
    assert (empty.exit_code, "no component to build" in empty.stderr) == (2, True)
    folder = tmp_path / "web" / "wasm"
    (folder / "app").mkdir(parents=True)
    (folder / "app" / "web.py").write_text("app = undefined\n")
    (folder / "build.json").write_text('{"entryPoint": "web:app", "environment": {}, "secrets": []}')
    failed = CliRunner().invoke(cli, ["migrate", "build", str(tmp_path)])
    assert failed.exit_code == 1
    assert "NameError: name 'undefined' is not defined" in failed.stderr
    (folder / "build.json").write_text("[]")
    assert CliRunner().invoke(cli, ["migrate", "build", str(tmp_path)]).exit_code == 2


def test_a_registry_that_no_image_can_have_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli, ["migrate", "generate", str(tmp_path), "--out", str(tmp_path / "out"), "--registry", "UPPER/x"]
    )
    assert (done.exit_code, "is no name of an image" in done.stderr) == (2, True)
    assert not (tmp_path / "out").exists()
