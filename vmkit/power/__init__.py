"""Power: start, stop, restart, pause, unpause, live-migrate and delete VMs, one or thousands.

result = run_power(session, Verb.STOP, Selection(label_selector="team=web"), PowerOptions(wait=True))
"""

from __future__ import annotations

from vmkit.power.delete import run_delete as run_delete
from vmkit.power.options import DeleteOptions as DeleteOptions
from vmkit.power.options import PowerOptions as PowerOptions
from vmkit.power.options import Selection as Selection
from vmkit.power.run import run_power as run_power
from vmkit.vm.contract import Verb as Verb

__all__ = ["DeleteOptions", "PowerOptions", "Selection", "Verb", "run_delete", "run_power"]
