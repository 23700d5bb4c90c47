"""``vmkit install recording-rules``: what a person pipes to kubectl, or hands to Prometheus."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.real.prometheus import require_prometheus
from vmkit.cli.main import cli
from vmkit.metrics.prometheus.rules import build_rules


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, ["install", "recording-rules", *words])
    return done.exit_code, done.stdout, done.stderr


def test_an_object_for_the_operator_has_its_labels_and_place() -> None:
    code, out, _ = run("--label", "release=stack", "--namespace", "watch")
    assert code == 0
    rule = yaml.safe_load(out)
    assert (rule["kind"], rule["metadata"]["namespace"]) == ("PrometheusRule", "watch")
    assert rule["metadata"]["labels"]["release"] == "stack"
    assert rule["spec"] == build_rules()


def test_a_file_is_one_that_prometheus_takes(tmp_path: Path) -> None:
    require_prometheus()
    code, out, _ = run("--rules-file", "--exported-labels", "--scrape-interval", "15s")
    assert code == 0
    assert "sum by (exported_namespace, name) (rate(kubevirt_vmi_cpu_usage_seconds_total[315s]))" in out
    file = tmp_path / "rules.yml"
    file.write_text(out)
    assert (
        subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--label", "release"), "is no label"),
        (("--label", "=x"), "is no label"),
        (("--rules-file", "--label", "a=b"), "has no labels"),
        (("--scrape-interval", "1h"), "makes no sense"),
        (("--scrape-interval", "0s"), "makes no sense"),
        (("--scrape-interval", "soon"), "soon"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], told: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert told in err
