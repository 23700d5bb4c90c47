"""Artifacts read back: how each workload is run, as its manifest says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migrate.guests import facts_of, guest, service, tree_of, unit
from vmkit.errors import ManifestError
from vmkit.migrate.generate.folder import Options, write_artifacts
from vmkit.migrate.verdict import decide_verdict
from vmkit.migrate.verify.artifacts import ContainerPlan, read_artifacts

APP = service(
    "app",
    unit(
        "/usr/bin/python3 /srv/app/main.py", "Group=app", "Environment=PORT=8000 DB_PASSWORD=x", "StateDirectory=app",
        "MemoryMax=64M", "WorkingDirectory=/srv/app",
    ),
) | {
    "/srv/app/main.py": "from wsgiref.simple_server import make_server\ndef app(environ, start_response):\n"
    "    start_response('200 OK', []); return [b'']\nmake_server('0.0.0.0', 8000, app).serve_forever()\n",
    "/etc/cron.d/app": "5 4 * * * app /usr/bin/python3 /srv/app/main.py\n",
}  # fmt: skip


def test_what_generate_writes_is_read_back_as_it_is_meant_to_run(tmp_path: Path) -> None:
    facts = facts_of(APP)
    write_artifacts(
        tree_of(guest(APP)), facts, decide_verdict(facts), tmp_path / "out", Options(registry="registry.example/x")
    )
    (tmp_path / "out/app/wasm").mkdir()
    (tmp_path / "out/app/wasm/app.wasm").write_bytes(b"\0asm")
    found = {one.name: one for one in read_artifacts(tmp_path / "out")}
    assert set(found) == {"app", "cron-app-1"}
    assert found["cron-app-1"].job
    app = found["app"]
    assert not app.job
    assert app.component is not None
    assert app.component.wasm.name == "app.wasm"
    assert app.container == ContainerPlan(
        image="registry.example/x/app:latest",
        variables=(("PORT", "8000"),),
        secrets=(("DB_PASSWORD", ""),),
        user="998:997",
        working_directory="/srv/app",
        volumes=("/var/lib/app",),
        ports=(8000,),
        memory_bytes=64 * 2**20,
        dropped=("ALL",),
    )


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_component_takes_its_environment_from_spin_toml(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "web/wasm/a.wasm": "",
            "web/wasm/spin.toml": '[component.web]\nsource = "a.wasm"\nenvironment = {A = "b"}\n',
        },
    )
    [found] = read_artifacts(tmp_path)
    assert found.component is not None
    assert found.component.variables == (("A", "b"),)


def test_a_component_outside_of_its_folder_is_not_run(tmp_path: Path) -> None:
    write(
        tmp_path, {"other.wasm": "", "web/spin.toml": '[component.web]\nsource = "../other.wasm"\n', "web/x": ""}
    )
    with pytest.raises(ManifestError, match="holds no artifacts"):
        read_artifacts(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "kind: Other", "kind: Deployment", "kind: Deployment\nspec: []", "kind: CronJob\nspec: {jobTemplate: 3}", "{",
        "kind: Deployment\nspec: {template: {spec: {containers: [{image: x, resources: {limits: {memory: lots}}}]}}}",
        "kind: Deployment\nspec: {template: {spec: {containers: []}}}",
    ],
)  # fmt: skip
def test_a_manifest_that_cannot_be_understood_is_an_error_with_its_place(text: str, tmp_path: Path) -> None:
    write(tmp_path, {"web/manifests.yaml": text})
    if text == "kind: Other":
        [found] = read_artifacts(tmp_path)
        assert found.container is None
        return
    with pytest.raises(ManifestError) as caught:
        read_artifacts(tmp_path)
    assert "manifests.yaml" in caught.value.where


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ManifestError) as caught:
            read_artifacts(folder)
        assert "vmkit migrate generate" in caught.value.hint
