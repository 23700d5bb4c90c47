"""What is missing or wrong around VMs, and what mends it: ``vmkit doctor``.

    check -> Look (what may be read) -> findings -> severity

One check a file in `checks`; each is given a `Look` at the cluster, says what kinds of findings it can come to,
and changes nothing. `examine` runs them side by side, each with a time limit and apart from the others: what a
check may not read, or what does not answer, is a finding of its own.
"""

from __future__ import annotations

from vmkit.doctor.look import Look
from vmkit.doctor.model import Check, Examination, Finding, Kind, Severity
from vmkit.doctor.run import examine

__all__ = ["Check", "Examination", "Finding", "Kind", "Look", "Severity", "examine"]
