"""When guests ran: observed while the lab is up, and for the time before it a past that fits what the objects say.

Only the stretches are kept, a few numbers each; every series is computed from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vmkit.lab.clock import Clock, parse_time
from vmkit.lab.metrics.load import DAY, fraction
from vmkit.lab.metrics.model import Run
from vmkit.lab.resources import ObjectKey, ResourceType
from vmkit.lab.store import Event, Store

HORIZON_DAYS = 60
"""How far back a guest's past is made up; monitoring systems keep less."""

_RUN_DAYS = 18.0
_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class PowerHistory:
    """Watches instances and remembers when each ran, and where.

    Args:
        store: the lab's objects.
        clock: the lab's clock.
        instances: the resource type of VirtualMachineInstances.
        pods: the resource type of pods, for the launchers' names.
        seed: decides the made-up past.
    """

    def __init__(
        self, store: Store, clock: Clock, *, instances: ResourceType, pods: ResourceType, seed: int
    ) -> None:
        self._store, self._clock, self._pods, self._seed = store, clock, pods, seed
        self._runs: dict[ObjectKey, list[Run]] = {}
        self._since = clock.now().timestamp()
        for entry in tuple(store.entries(instances)):
            self._observe(entry.key, entry.decode())
        self._end = store.subscribe(self._on_event, instances)

    def close(self) -> None:
        """Ends watching."""
        self._end()

    def runs(self, key: ObjectKey, *, created: float, stopped: float | None) -> tuple[Run, ...]:
        """A guest's runs, oldest first.

        Args:
            key: the VM.
            created: when it was made (Unix seconds): it never ran before.
            stopped: for one that has not run while the lab is up, when it last stopped; None if it never ran at
                all.
        """
        observed = self._runs.get(key, [])
        if observed:
            first = observed[0]
            if first.start >= self._since or first.start != first.boot:
                return tuple(observed)
            past = _past_runs(self._seed, f"{key.namespace}/{key.name}", created, first.boot, first)
            return (*past, *observed)
        if stopped is None or stopped <= created + 600:
            return ()
        return tuple(_past_runs(self._seed, f"{key.namespace}/{key.name}", created, stopped, None))

    def to_state(self) -> dict[str, list[list[Any]]]:
        """What was observed, for saving."""
        return {
            f"{key.namespace}/{key.name}": [[*_fields(run)] for run in runs]
            for key, runs in self._runs.items()
            if runs
        }

    def load_state(self, state: Mapping[str, Iterable[Iterable[Any]]]) -> None:
        """Takes up what was saved, in place of what was observed."""
        self._runs.clear()
        for path, rows in state.items():
            namespace, _, name = path.partition("/")
            self._runs[ObjectKey(namespace, name)] = [Run(*row) for row in rows]

    # --- observing --------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        if event.type == "DELETED":
            self._stop(event.key)
        else:
            self._observe(event.key, event.object)

    def _observe(self, key: ObjectKey, instance: Mapping[str, Any]) -> None:
        status = instance.get("status") or {}
        if status.get("phase") != "Running":
            if status.get("phase") in ("Succeeded", "Failed"):
                self._stop(key)
            return
        uid, node = instance["metadata"]["uid"], status.get("nodeName", "")
        runs = self._runs.setdefault(key, [])
        current = runs[-1] if runs and runs[-1].end is None else None
        if current is not None and (current.uid, current.node) == (uid, node):
            return
        now = self._clock.now().timestamp()
        boot = _phase_time(status, "Running") or now
        start = boot
        if current is not None:
            # The same instance on another node has moved: its counters begin anew there.
            self._stop(key)
            start = now if current.uid == uid else boot
        pod, pod_uid = self._find_pod(key.namespace, status, node)
        runs.append(Run(start, None, boot, node, uid, pod, pod_uid))

    def _stop(self, key: ObjectKey) -> None:
        runs = self._runs.get(key)
        if runs and runs[-1].end is None:
            last = runs[-1]
            runs[-1] = Run(
                last.start, self._clock.now().timestamp(), last.boot, last.node, last.uid, last.pod, last.pod_uid
            )

    def _find_pod(self, namespace: str, status: Mapping[str, Any], node: str) -> tuple[str, str]:
        for uid, where in (status.get("activePods") or {}).items():
            if where == node:
                found = self._store.by_uid(uid)
                if found is not None and found[0] is self._pods and found[1].namespace == namespace:
                    return found[1].name, uid
        return "", ""


def _fields(run: Run) -> tuple[Any, ...]:
    return run.start, run.end, run.boot, run.node, run.uid, run.pod, run.pod_uid


def _phase_time(status: Mapping[str, Any], phase: str) -> float | None:
    for each in status.get("phaseTransitionTimestamps") or ():
        if each.get("phase") == phase:
            try:
                return parse_time(each["phaseTransitionTimestamp"]).timestamp()
            except (KeyError, TypeError, ValueError):
                return None
    return None


def _past_runs(seed: int, key: str, created: float, until: float, following: Run | None) -> list[Run]:
    """Runs before an instant: each some days long, short breaks between them, oldest first.

    Args:
        until: when the run that follows booted, or when the guest was stopped for good.
        following: that run; its node is kept now and then.
    """
    runs: list[Run] = []
    oldest = max(created + 60, until - HORIZON_DAYS * DAY)
    end, index = until, 0
    name = key.partition("/")[2]
    node = following.node if following is not None else f"worker-{1 + int(fraction(seed, key, 'node') * 4)}"
    while True:
        if following is not None or index:
            # A restart takes a minute or two; now and then it stayed off for a night.
            draw = fraction(seed, key, "gap", index)
            end -= 60 + draw * 90 if draw < 0.8 else 14 * 3600 * draw
        start = end - (0.2 + 2 * fraction(seed, key, "run", index)) * _RUN_DAYS * DAY
        start = max(start, oldest)
        if end - start < 600:
            break
        suffix = "".join(
            _NAME_LETTERS[int(fraction(seed, key, "pod", index, i) * len(_NAME_LETTERS))] for i in range(5)
        )
        runs.append(
            Run(start, end, start, node, f"past-{index}", f"virt-launcher-{name}-{suffix}", f"past-{key}-{index}")
        )
        if start <= oldest:
            break
        end, index = start, index + 1
    runs.reverse()
    return runs
