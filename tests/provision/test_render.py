"""Rendering: whatever an answer holds, it stays a value."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmkit.errors import AnswerError, TemplateError
from vmkit.provision.loader import parse_template
from vmkit.provision.render import RenderContext, Renderer, render_template
from vmkit.provision.storage import StorageChoice
from vmkit.provision.yamlread import read_documents
from vmkit.provision.yamlwrite import write_yaml

CONTEXT = RenderContext("web-1", "prod")


def template(body: str, parameters: str = "") -> Any:
    indented = "".join(f"      {line}\n" if line else "\n" for line in body.splitlines())
    return parse_template(
        "apiVersion: vmkit.io/v1\nkind: Template\nname: t\ntitle: T\n"
        + parameters
        + "objects:\n  - name: o\n    body: |\n"
        + indented,
        where="t.yaml",
    )


HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ name }}\n"

TEXTS = """parameters:
  - {name: text, type: text, help: any}
"""

EVERYWHERE = (
    HEAD
    + """data:
  plain: {{ text }}
  inside: before {{ text }} after
  single: '{{ text }}'
  double: "{{ text }}"
  flow: [{{ text }}, {a: {{ text }}, b: "x{{ text }}y"}]
  block: |
    one {{ text }}
    two
  folded: >-
    {{ text }}
  joined: {{ "a" ~ text ~ "b" }}
  config: !cloud-config
    key: {{ text }}
    list:
      - {{ text }}
# {{ text }}
  last: end
"""
)

NASTY = st.one_of(
    st.text(),
    st.text(alphabet="\n\r\t '\"{}[]:#&*!|>%@`,-\\\ue000\ue001\ue002\ue0030123\u2028\x85\x00a"),
    st.sampled_from([
        "a: b", "x\nkind: Secret", '"\nkind: Secret\n"', "'", '"', "{{ 7*7 }}", "{% raw %}", "\ue0000\ue001",
        "!!python/object/apply:os.system ['x']", "&a [*a]", "<<: {a: b}", "---\nkind: Secret", "...", "- x", "? x",
        "%YAML 9", "null", "true", "0755", "1e3", "~", "", " ", "\n", "# x", "| \n x", "\u2028x", "\x00", "😀",
    ]),
)  # fmt: skip


@given(text=NASTY)
@settings(max_examples=300)
def test_no_answer_changes_the_structure_of_a_manifest(text: str):
    renderer = Renderer(template(EVERYWHERE, TEXTS))
    manifest = renderer.render({"text": text}, CONTEXT).manifests[0]
    assert list(manifest) == ["apiVersion", "kind", "metadata", "data"]
    config = manifest["data"].pop("config")
    assert manifest == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "web-1", "namespace": "prod"},
        "data": {
            "plain": text,
            "inside": f"before {text} after",
            "single": text,
            "double": text,
            "flow": [text, {"a": text, "b": f"x{text}y"}],
            "block": f"one {text}\ntwo\n",
            "folded": text,
            "joined": f"a{text}b",
            "last": "end",
        },
    }
    assert read_documents(config, where="cloud-config")[0].value == {"key": text, "list": [text]}


@given(text=NASTY)
@settings(max_examples=200)
def test_a_manifest_with_any_answer_survives_being_written_and_read(text: str):
    manifest = render_template(template(EVERYWHERE, TEXTS), {"text": text}, CONTEXT).manifests[0]
    assert read_documents(write_yaml(manifest), where="x")[0].value == manifest
    assert json.loads(json.dumps(manifest)) == manifest


def test_a_text_that_is_no_unicode_is_refused():
    with pytest.raises(AnswerError, match="not Unicode"):
        render_template(template(EVERYWHERE, TEXTS), {"text": "\ud800"}, CONTEXT)


@pytest.mark.parametrize(
    ("kind", "answer", "value"),
    [
        ("integer", "4", 4), ("integer", 4, 4), ("boolean", "true", True), ("number", "1.5", 1.5),
        ("string", "4", "4"), ("string", "true", "true"), ("quantity", "4Gi", "4Gi"), ("list", "a,b", ["a", "b"]),
        ("list", [], []),
    ],
)  # fmt: skip
def test_an_answer_keeps_its_type(kind: str, answer: Any, value: Any):
    made = template(HEAD + "x: {{ p }}\n", f"parameters:\n  - {{name: p, type: {kind}}}\n")
    assert render_template(made, {"p": answer}, CONTEXT).manifests[0]["x"] == value


def test_in_quotes_an_answer_is_a_text():
    made = template(HEAD + 'x: "{{ p }}"\ny: \'{{ q }}\'\n', "parameters:\n  - {name: p, type: integer}\n"
                    "  - {name: q, type: boolean}\n")  # fmt: skip
    manifest = render_template(made, {"p": 4, "q": True}, CONTEXT).manifests[0]
    assert (manifest["x"], manifest["y"]) == ("4", "true")


def test_a_key_whose_value_is_not_set_is_left_out():
    made = template(
        HEAD + "x: {{ p }}\nlist:\n  - {{ p }}\n  - b\nclass: {{ storage.class_name }}\n",
        "parameters:\n  - {name: p, default: null}\n",
    )
    manifest = render_template(made, {}, CONTEXT).manifests[0]
    assert manifest["list"] == ["b"]
    assert "x" not in manifest
    assert "class" not in manifest


def test_a_value_that_is_not_set_cannot_stand_inside_a_text():
    made = template(HEAD + "x: before-{{ p }}\n", "parameters:\n  - {name: p, default: null}\n")
    with pytest.raises(TemplateError) as caught:
        render_template(made, {}, CONTEXT)
    assert (caught.value.line, caught.value.where) == (14, "t.yaml")
    assert "default" in caught.value.hint


def test_bodies_choose_and_repeat():
    made = template(
        HEAD
        + "ports:\n{% for port in ports %}\n"
        + "  - port: {{ port | int }}\n    first: {{ loop.first }}\n{% endfor %}\n"
        + "{% if ports | length > 1 %}\nmany: true\n{% else %}\nmany: false\n{% endif %}\n",
        "parameters:\n  - {name: ports, type: list}\n",
    )
    renderer = Renderer(made)
    two = renderer.render({"ports": "80,443"}, CONTEXT).manifests[0]
    assert two["ports"] == [{"port": 80, "first": True}, {"port": 443, "first": False}]
    assert two["many"] is True
    assert renderer.render({"ports": "22"}, CONTEXT).manifests[0]["many"] is False


def test_manifests_share_nothing():
    made = template(HEAD + "a: {{ l }}\nb: {{ l }}\nfixed: {x: [1]}\n", "parameters:\n  - {name: l, type: list}\n")
    renderer = Renderer(made)
    first = renderer.render({"l": "1"}, CONTEXT).manifests[0]
    first["a"].append("2")
    first["fixed"]["x"].append(2)
    assert first["b"] == ["1"]
    assert renderer.render({"l": "1"}, CONTEXT).manifests[0]["fixed"] == {"x": [1]}


def test_what_vmkit_gives_bodies_is_all_they_get():
    made = template(
        HEAD
        + "all: [{{ name }}, {{ namespace }}, {{ index }}, {{ storage.class_name }}, {{ storage.access_modes }},"
        ' {{ storage.volume_mode }}, {{ mac("default") }}, {{ template.name }}]\n'
    )
    storage = StorageChoice("fast", ("ReadWriteMany",), "Block")
    manifest = render_template(made, {}, RenderContext("web-1", "prod", 3, storage)).manifests[0]
    mac = manifest["all"].pop(6)
    assert manifest["all"] == ["web-1", "prod", 3, "fast", ["ReadWriteMany"], "Block", "t"]
    assert mac == render_template(made, {}, RenderContext("web-1", "prod")).manifests[0]["all"][3 + 0 :][-2]
    assert mac.startswith("02:")


def test_a_mac_address_differs_by_vm_and_by_interface():
    made = template(HEAD + 'm: [{{ mac("a") }}, {{ mac("b") }}]\n')
    renderer = Renderer(made)
    macs = [
        mac
        for name, namespace in (("x", "p"), ("y", "p"), ("x", "q"))
        for mac in renderer.render({}, RenderContext(name, namespace)).manifests[0]["m"]
    ]
    assert len(set(macs)) == 6


def test_an_image_gives_a_source_or_a_reference():
    made = template(
        HEAD + "source: {{ i.source }}\nsourceRef: {{ i.source_ref }}\n",
        "parameters:\n  - {name: i, type: image, default: ['datasource:golden/debian', 'docker://r.example/d:1']}\n",
    )
    renderer = Renderer(made)
    offline = renderer.render({}, CONTEXT)
    assert offline.manifests[0]["source"] == {"registry": {"url": "docker://r.example/d:1"}}
    assert "sourceRef" not in offline.manifests[0]
    named = renderer.render({"i": "snapshot:s1"}, CONTEXT)
    assert named.manifests[0]["source"] == {"snapshot": {"namespace": "prod", "name": "s1"}}


def test_objects_come_in_the_order_they_have_to_be_created_in():
    made = parse_template(
        "apiVersion: vmkit.io/v1\nkind: Template\nname: t\ntitle: T\nobjects:\n"
        + "".join(
            f"  - name: o{i}\n    body: |\n      apiVersion: v1\n      kind: {kind}\n      metadata: {{name: x}}\n"
            for i, kind in enumerate(["Service", "VirtualMachine", "DataVolume", "Secret", "StorageClass"])
        )
    )
    kinds = [manifest["kind"] for manifest in render_template(made, {}, CONTEXT).manifests]
    assert kinds == ["StorageClass", "Secret", "DataVolume", "Service", "VirtualMachine"]


def test_objects_outside_namespaces_get_none():
    made = template("apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata:\n  name: {{ name }}\n")
    assert render_template(made, {}, CONTEXT).manifests[0]["metadata"] == {"name": "web-1"}


# --- mistakes in bodies: file, line, column
# ------------------------------------------------------------------------

MISTAKES = [
    # body (after HEAD, whose first line is line 8 of the file), line, column, words
    ("x: {{ nme }}\n", 12, 13, "'nme' is neither a parameter nor built in"),
    ("x: {{ name\n", 12, 10, "unexpected end of template"),
    ("{% if name %}\nx: 1\n", None, None, "Unexpected end of template"),
    ("ok: 1\nx: {{ name | lowercase }}\n", 13, 20, "no filter 'lowercase'"),
    ("x: {{ name.__class__ }}\n", 12, 10, "no attribute '__class__'"),
    ("x: {{ name.upper() }}\n", 12, 10, "templates call nothing but"),
    ("{% include 'x' %}\n", 12, 10, "no 'include'"),
    ("x: {{ 1 / 0 }}\n", 12, 10, "division by zero"),
    ("x: a: b\n", 12, 11, "not YAML"),
    ("x: 1\nx: 2\n", 13, 7, "the key 'x' stands here twice"),
    ("x: &a 1\ny: *a\n", 12, 10, "anchors"),
    ("x: !!python/name:os.system 1\n", 12, 10, "tag"),
    ("{% for i in range(2) %}\na: {{ i }}\n{% endfor %}\n", 13, 7, "stands here twice"),
    ("{{ name }}:\n  {{ name }}: 1\n  {{ name }}: 2\n", None, None, "stand there twice"),
    ("{% for i in range(9000) %}{% for j in range(9000) %}{% endfor %}{% endfor %}\n", 12, 7, "loop steps"),
    ("x: {{ mac(1) }}\n", 12, 10, "name of an interface"),
    ("x: {{ mac }}\n", 12, 10, "no value"),
    ("x: {{ 'a' * 1000000 }}\n", 12, 10, "cannot compute"),
    ("x: \ue000\n", 12, None, "private-use"),
]


@pytest.mark.parametrize(("body", "line", "column", "words"), MISTAKES, ids=[case[3] for case in MISTAKES])
def test_a_mistake_in_a_body_has_its_place_in_the_file(body: str, line: int, column: int, words: str):
    with pytest.raises(TemplateError) as caught:
        render_template(template(HEAD + body), {}, CONTEXT)
    assert words in caught.value.message
    assert caught.value.where == "t.yaml"
    if line is not None:
        assert caught.value.line == line
    if column is not None:
        assert caught.value.column == column


@pytest.mark.parametrize("missing", ["apiVersion", "kind", "metadata"])
def test_a_body_that_renders_no_manifest_says_what_is_missing(missing: str):
    lines = ["apiVersion: v1", "kind: ConfigMap", "metadata: {name: x}"]
    body = "\n".join(line for line in lines if not line.startswith(missing))
    with pytest.raises(TemplateError, match="is missing"):
        render_template(template(body), {}, CONTEXT)


@given(source=st.text(alphabet="{}%#|~ \n'\"abnamexif()[].,:=+-*/<>0123_", max_size=80))
@settings(max_examples=300)
def test_any_body_renders_or_is_a_template_error(source: str):
    made = template("x: 1\n")
    body = made.bodies[0]
    made = replace(made, bodies=(replace(body, source=source),))
    error: TemplateError | None = None
    try:
        render_template(made, {}, CONTEXT)
    except TemplateError as refused:
        error = refused
    assert error is None or error.line is not None


def test_answers_that_are_wrong_name_themselves():
    made = template(HEAD, "parameters:\n  - {name: cpu, type: integer, minimum: 1, maximum: 64, unit: CPUs}\n")
    for answers, words in (
        ({"cpus": 4, "cpu": 1}, "no parameter 'cpus'"),
        ({}, "needs an answer for 'cpu'"),
        ({"cpu": "four"}, "'cpu' takes a whole number"),
        ({"cpu": 65}, "1 to 64 CPUs"),
        ({"cpu": True}, "whole number"),
    ):
        with pytest.raises(AnswerError, match=words):
            render_template(made, answers, CONTEXT)
    with pytest.raises(AnswerError) as caught:
        render_template(made, {"cpus": 4}, CONTEXT)
    assert caught.value.hint == "did you mean 'cpu'?"


def test_a_secret_answer_is_never_shown_in_an_error():
    made = template(HEAD, "parameters:\n  - {name: password, secret: true, pattern: '[a-z]{20}'}\n")
    with pytest.raises(AnswerError) as caught:
        render_template(made, {"password": "hunter2"}, CONTEXT)
    assert "hunter2" not in str(caught.value.to_dict())
