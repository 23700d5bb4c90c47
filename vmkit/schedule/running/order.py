"""Who is started after whom, and stopped before whom. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from vmkit.errors import InputError, ScheduleError
from vmkit.vm.reference import VmRef, parse_vm_ref

START_ORDER: Final = "vmkit.io/start-order"
"""Annotation: a whole number. Of a namespace's VMs those with lower ones are started first, stopped last."""
DEPENDS_ON: Final = "vmkit.io/depends-on"
"""Annotation: names of VMs, separated by commas, that have to be ready before this one is started."""
_MOST: Final = 64


@dataclass(frozen=True, slots=True)
class Place:
    """A VM's place in the order.

    Attributes:
        number: its start-order; None where it has none: it waits for nobody by number.
        depends_on: the VMs it names.
    """

    number: int | None = None
    depends_on: tuple[VmRef, ...] = ()


def parse_place(ref: VmRef, annotations: Mapping[str, str]) -> Place:
    """Reads the two annotations.

    Raises:
        ScheduleError: one of them is not understood.
    """
    number = None
    text = annotations.get(START_ORDER)
    if text is not None:
        try:
            if len(text) > 9:
                raise ValueError
            number = int(text)
        except ValueError:
            raise ScheduleError(
                f"{START_ORDER}: {text[:20]!r} is no whole number", hint='such as "10"', where=str(ref)
            ) from None
    named = [word.strip() for word in annotations.get(DEPENDS_ON, "").split(",") if word.strip()]
    if len(named) > _MOST:
        raise ScheduleError(f"{DEPENDS_ON} names {len(named)} VMs", hint=f"at most {_MOST}", where=str(ref))
    try:
        others = tuple(parse_vm_ref(word, default_namespace=ref.namespace) for word in named)
    except InputError as error:
        raise ScheduleError(f"{DEPENDS_ON}: {error.message}", hint=error.hint, where=str(ref)) from error
    return Place(number, others)


def needs(places: Mapping[VmRef, Place]) -> dict[VmRef, set[VmRef]]:
    """Whom each of these VMs waits for among them, when they are started."""
    found: dict[VmRef, set[VmRef]] = {ref: set() for ref in places}
    numbered: dict[str, list[tuple[int, VmRef]]] = {}
    for ref, place in places.items():
        found[ref].update(other for other in place.depends_on if other in places)
        if place.number is not None:
            numbered.setdefault(ref.namespace, []).append((place.number, ref))
    for members in numbered.values():
        steps: dict[int, list[VmRef]] = {}
        for number, ref in members:
            steps.setdefault(number, []).append(ref)
        before: list[VmRef] = []
        for number in sorted(steps):
            for ref in steps[number]:
                found[ref].update(before)
            before = steps[number]  # These have waited for those before them.
    return found


@dataclass(frozen=True, slots=True)
class Waves:
    """VMs in steps; each step may begin when the one before is ready. ``cyclic`` wait for each other for ever."""

    steps: tuple[tuple[VmRef, ...], ...]
    cyclic: tuple[VmRef, ...]


def decide_waves(waits_for: Mapping[VmRef, Collection[VmRef]]) -> Waves:
    """Puts VMs into as few steps as their waiting allows, in the order given within each."""
    left = {ref: set(others) for ref, others in waits_for.items()}
    steps: list[tuple[VmRef, ...]] = []
    while left:
        step = tuple(ref for ref, others in left.items() if not others)
        if not step:
            return Waves(tuple(steps), tuple(left))
        steps.append(step)
        for ref in step:
            del left[ref]
        for others in left.values():
            others.difference_update(step)
    return Waves(tuple(steps), ())


def reverse(waits_for: Mapping[VmRef, Iterable[VmRef]]) -> dict[VmRef, set[VmRef]]:
    """The same for stopping: who is needed waits for those who need it."""
    found: dict[VmRef, set[VmRef]] = {ref: set() for ref in waits_for}
    for ref, others in waits_for.items():
        for other in others:
            found[other].add(ref)
    return found
