"""Every shipped template: read, linted, rendered by its example, held to golden files and API schemas."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.provision.api_schemas import problems
from vmkit.provision.adjust import adjust_manifests, merge_answers
from vmkit.provision.catalog import Catalog, shipped_directory
from vmkit.provision.cloudconfig import cloud_init_parts
from vmkit.provision.lint import Severity, lint_manifests, lint_template
from vmkit.provision.loader import read_template
from vmkit.provision.render import RenderContext, Renderer
from vmkit.provision.request import read_fleet
from vmkit.provision.storage import StorageChoice
from vmkit.provision.yamlwrite import write_documents

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "golden" / "templates"
EXAMPLES = sorted((ROOT / "examples" / "templates").glob("*.yaml"))
TEMPLATES = sorted(shipped_directory().glob("*.yaml"))
STORAGE = StorageChoice("rook-ceph-block", ("ReadWriteMany",), "Block")

EXPECTED = [
    "centos-stream", "ci-runner", "database", "debian", "edge", "fedora", "golden-image", "rook-block",
    "rook-cephfs", "rook-encrypted", "ubuntu", "web-server", "windows-server",
]  # fmt: skip


def test_the_shipped_templates_are_those_promised():
    assert [path.stem for path in TEMPLATES] == EXPECTED


def test_every_template_is_used_by_an_example():
    used = {request.template for path in EXAMPLES for request in read_fleet(path)}
    assert used == set(EXPECTED)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_shipped_template_has_no_errors_and_no_warnings(path: Path):
    findings = [finding for finding in lint_template(read_template(path)) if finding.severity is not Severity.INFO]
    assert findings == []


def test_the_edge_template_is_the_only_one_marked_experimental():
    assert [t.name for t in Catalog(project=Path("/nonexistent")).read_all()[0] if t.experimental] == ["edge"]


def render_example(path: Path) -> list[dict[str, Any]]:
    manifests: list[dict[str, Any]] = []
    for request in read_fleet(path):
        template = Catalog(project=Path("/nonexistent")).find(request.template)
        context = RenderContext(request.name, request.namespace or "demo", request.index, STORAGE)
        rendered = Renderer(template).render(merge_answers(template, request), context)
        adjust_manifests(rendered.manifests, request, template, STORAGE)
        manifests += rendered.manifests
    return manifests


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_renders_as_its_golden_file(path: Path):
    rendered = write_documents(render_example(path))
    golden = GOLDEN / path.name
    if os.environ.get("VMKIT_UPDATE_GOLDEN"):
        golden.write_text(rendered)
    assert rendered == golden.read_text()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_fits_the_api_schemas(path: Path):
    assert [problem for manifest in render_example(path) for problem in problems(manifest)] == []


def test_the_schemas_refuse_a_field_that_does_not_exist():
    manifest = render_example(EXAMPLES[0])[0]
    manifest["spec"]["template"]["spec"]["domain"]["turbo"] = True
    assert any("turbo" in problem for problem in problems(manifest))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_nothing_that_admission_refuses(path: Path):
    findings = lint_manifests(render_example(path))
    errors = [f for f in findings if f.severity is Severity.ERROR and f.rule != "cloud-init-too-long"]
    assert errors == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_cloud_init_of_an_example_is_yaml_that_other_readers_read(path: Path):
    for manifest in render_example(path):
        if manifest["kind"] == "VirtualMachine":
            for part in cloud_init_parts(manifest):
                assert part.data is not None
                assert part.data.startswith(b"#cloud-config\n")
                assert isinstance(yaml.safe_load(part.data), dict)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_interface_of_an_example_has_a_mac_address_of_its_own(path: Path):
    macs = [
        interface["macAddress"]
        for manifest in render_example(path)
        if manifest["kind"] == "VirtualMachine"
        for interface in manifest["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"]
    ]
    assert len(macs) == len(set(macs))
