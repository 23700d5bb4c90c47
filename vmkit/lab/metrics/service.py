"""The monitoring system of a lab: remembers when guests ran, and answers with their series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast, get_args

import msgspec

from vmkit.errors import UsageError
from vmkit.lab.metrics.energy import Generation, NodePower
from vmkit.lab.metrics.facts import FactReader
from vmkit.lab.metrics.history import PowerHistory
from vmkit.lab.metrics.model import Guest
from vmkit.lab.metrics.openmetrics import CONTENT_TYPE, Exposition
from vmkit.lab.resources import Response

if TYPE_CHECKING:
    from vmkit.lab.control import Control
    from vmkit.lab.controller import Context
    from vmkit.lab.http.request import Request

_NO_GUEST_LOADS: Final = ("1.2", "1.5")
"""Releases in which guests do not report their load (it came with 1.7)."""


_GENERATIONS: Final[tuple[str, ...]] = get_args(Generation)


@dataclass(frozen=True)
class Facts:
    """All that the series of a lab follow from: they can be computed anywhere."""

    seed: int
    now: float
    kepler: str
    loads: bool
    guests: Sequence[Guest]
    nodes: Sequence[NodePower]

    def exposition(self) -> Exposition:
        """The series."""
        kepler = cast("Generation", self.kepler)
        return Exposition(self.seed, self.guests, self.nodes, kepler=kepler, loads=self.loads)


class MetricsService:
    """The series of one lab.

    Args:
        context: the lab's. Its option "seed" decides the series, "kubevirt" which there are, "kepler" which
            generation of Kepler is installed ("pods", "containers", "legacy" or "none").
    """

    def __init__(self, context: Context) -> None:
        seed = context.options.get("seed")
        self._context = context
        self._seed = seed if isinstance(seed, int) else 1
        self._history = PowerHistory(
            context.store,
            context.clock,
            instances=context.registry.get("kubevirt.io", "virtualmachineinstances"),
            pods=context.registry.get("", "pods"),
            seed=self._seed,
        )
        self._facts = FactReader(context.store, context.registry, self._history, seed=self._seed)

    def facts(self, *, namespace: str | None = None, kepler: str = "") -> Facts:
        """What the series follow from, now.

        Raises:
            UsageError: there is no such generation of Kepler.
        """
        generation = kepler or str(self._context.options.get("kepler") or "pods")
        if generation not in _GENERATIONS:
            raise UsageError(
                f"there is no generation of Kepler called {generation!r}",
                hint="one of " + ", ".join(_GENERATIONS),
            )
        return Facts(
            seed=self._seed,
            now=self._context.clock.now().timestamp(),
            kepler=generation,
            loads=self._context.options.get("kubevirt") not in _NO_GUEST_LOADS,
            guests=tuple(self._facts.read_guests(namespace=namespace)),
            nodes=tuple(self._facts.read_nodes()),
        )

    def scrape(self, *, only: Sequence[str] = (), kepler: str = "") -> str:
        """Every series as it stands now, as a monitoring system would fetch it."""
        facts = self.facts(kepler=kepler)
        return "".join(facts.exposition().render([facts.now], only=only, stamped=False))

    # --- as a part of a lab -----------------------------------------------------------------------

    def to_state(self) -> Mapping[str, Any]:
        """What is saved with the lab: when guests ran."""
        return self._history.to_state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes up what was saved."""
        self._history.load_state(state)

    def add_endpoints(self, control: Control) -> None:
        """Serves ``/vmkit.io/lab/metrics`` and ``/vmkit.io/lab/metrics/facts``."""
        control.add("metrics", self._answer)

    def _answer(self, request: Request) -> Response:
        kepler = request.query.get("kepler", "")
        if request.path.rstrip("/").endswith("/facts"):
            namespace = request.query.get("namespace") or None
            facts = self.facts(namespace=namespace, kepler=kepler)
            return Response(body=encode_facts(facts), content_type="application/json")
        only = [name for name in request.query.get("only", "").split(",") if name]
        return Response(body=self.scrape(only=only, kepler=kepler).encode(), content_type=CONTENT_TYPE)


def encode_facts(facts: Facts) -> bytes:
    """Facts as JSON."""
    return msgspec.json.encode(facts)


def decode_facts(data: bytes) -> Facts:
    """Facts from JSON, as another process gets them."""
    return msgspec.json.decode(data, type=Facts)
