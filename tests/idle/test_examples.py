"""examples/stop-idle: a VM is found, noted, stopped a day later, counted and started again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from vmkit.idle.rates import read_rates

EXAMPLES = Path(__file__).parents[2] / "examples" / "stop-idle"


def test_the_example_finds_a_vm_and_stops_it_a_day_later(tmp_path: Path) -> None:
    kept = {key: text for key, text in os.environ.items() if not key.startswith("VMKIT_") and key != "KUBECONFIG"}
    scripts = str(Path(sys.executable).parent)
    done = subprocess.run(
        ["sh", str(EXAMPLES / "run.sh")],
        cwd=tmp_path,
        env={**kept, "HOME": str(tmp_path), "PATH": f"{scripts}{os.pathsep}{kept['PATH']}", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (
        "shop-dev/dev-1 is idle",
        "shop-dev/dev-1 noted as idle: it stayed below every limit of vmkit for 14d",
        "shop-dev/dev-1 stopped: it stayed below every limit of vmkit for 14d",
        "CO2: 380.95 g/kWh (Germany, Ember by way of Our World in Data, 2023)",
        "shop-dev/dev-1 start requested",
    ):
        assert line in done.stdout
    assert "1 idle" in done.stderr


def test_the_rates_are_understood() -> None:
    assert read_rates(EXAMPLES / "rates.toml").currency == "EUR"
