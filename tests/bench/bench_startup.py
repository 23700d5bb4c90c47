"""How long commands that need no cluster take to start, against ``python -c "import click"``.

    python tests/bench/bench_startup.py

Each ratio is of the best of several runs of either, taken alternately, so that a busy machine slows both.
The bound is 3: `vmkit --help` and `vmkit template list` feel like the interpreter itself.
"""

from __future__ import annotations

import subprocess
import sys
import time

RUNS = 9
BOUND = 3.0
BASELINE = ("-c", "import click")
MEASURED = {
    "vmkit --help": ("-m", "vmkit", "--help"),
    "vmkit --version": ("-m", "vmkit", "--version"),
    "vmkit stop --help": ("-m", "vmkit", "stop", "--help"),
    "vmkit template list": ("-m", "vmkit", "template", "list"),
    "import vmkit": ("-c", "import vmkit"),
}


def _seconds(arguments: tuple[str, ...]) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def main() -> int:
    """Prints one line for each; 1 if one is beyond the bound."""
    best = dict.fromkeys(("baseline", *MEASURED), float("inf"))
    for _ in range(RUNS):
        best["baseline"] = min(best["baseline"], _seconds(BASELINE))
        for name, arguments in MEASURED.items():
            best[name] = min(best[name], _seconds(arguments))
    baseline = best.pop("baseline")
    print(f"{'python -c import click':24} {baseline * 1000:7.1f} ms")
    for name, seconds in best.items():
        print(f"{name:24} {seconds * 1000:7.1f} ms   ratio {seconds / baseline:.2f} (bound {BOUND:g})")
    return int(any(seconds / baseline > BOUND for seconds in best.values()))


if __name__ == "__main__":
    sys.exit(main())
