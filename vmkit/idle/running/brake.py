"""What stops a run in which far more is idle than in the one before: then it is the evidence that changed.

The share of idle VMs is kept in one ConfigMap beside the suspend switch, for each scope and policy apart.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any, Final

from vmkit.cluster.resources import CONFIG_MAPS
from vmkit.cluster.session import Session
from vmkit.errors import AlreadyExists, NotFound, Refused

NAME: Final = "vmkit-stop-idle"
MOST_GROWTH: Final = 0.10
"""By so much of all VMs may the share of idle ones grow from one run to the next."""
LEAST_VMS: Final = 3
"""Fewer VMs than this that became idle are no sign: of four VMs each one is a quarter."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many were idle."""

    idle: int
    judged: int

    @property
    def part(self) -> float:
        return self.idle / self.judged if self.judged else 0.0


def object_to_growth(before: Share | None, now: Share) -> Refused | None:
    """Why nothing more is to be noted or stopped; None where the share has not grown by much. Pure."""
    if before is None or now.part - before.part <= MOST_GROWTH + 1e-9 or now.idle - before.idle < LEAST_VMS:
        return None
    return Refused(
        f"{now.idle} of {now.judged} VMs are idle ({now.part:.0%}), and at the last run it was {before.idle} of "
        f"{before.judged} ({before.part:.0%}): nothing is noted or stopped",
        hint="look whether monitoring tells the truth (vmkit stop-idle --dry-run), then give --accept-growth once",
    )


@dataclass(frozen=True, slots=True)
class Brake:
    """Where the shares are kept, and whose this run's is.

    Attributes:
        namespace: of the ConfigMap.
        scope: the words of the run's scope and policy.
    """

    namespace: str
    scope: str

    @property
    def key(self) -> str:
        """Of the scope, in the ConfigMap."""
        return f"share-{hashlib.sha256(self.scope.encode()).hexdigest()[:16]}"

    def read(self, session: Session) -> Share | None:
        """What the last run found; None where there was none, or what is there cannot be read.

        Raises:
            ClusterError: nobody can tell; then nothing is changed.
        """
        found = session.find(CONFIG_MAPS, NAME, self.namespace)
        data: Any = found.get("data") if found is not None else None
        try:
            document = json.loads(data[self.key])
            idle, judged = int(document["idle"]), int(document["judged"])
        except (KeyError, TypeError, ValueError, RecursionError):
            return None
        return Share(idle, judged) if 0 <= idle <= judged < math.inf else None

    def write(self, session: Session, share: Share) -> None:
        """Remembers what this run found.

        Raises:
            ClusterError: it could not be written.
        """
        text = json.dumps({"scope": self.scope[:200], "idle": share.idle, "judged": share.judged})
        body = {"data": {self.key: text}}
        try:
            session.patch(CONFIG_MAPS, NAME, body, self.namespace)
        except NotFound:
            document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, **body}
            try:
                session.create(CONFIG_MAPS, document, self.namespace)
            except AlreadyExists:
                session.patch(CONFIG_MAPS, NAME, body, self.namespace)
