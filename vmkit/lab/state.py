"""A lab's state as one JSON document: its objects as they are, and its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from vmkit.errors import ConfigError
from vmkit.lab.builtin.types import CRDS
from vmkit.lab.clock import format_micro_time, parse_time
from vmkit.lab.controllers.definitions import DefinitionController
from vmkit.lab.resources import Object

if TYPE_CHECKING:
    from vmkit.lab.assembly import World

KIND: Final = "vmkit-lab-state"
_VERSION: Final = 1


def dump_state(world: World) -> bytes:
    """Every object and the present instant. Parts with a ``to_state`` add what they remember besides."""
    head = {
        "kind": KIND,
        "version": _VERSION,
        "clock": {"now": format_micro_time(world.clock.now())},
        "parts": {name: part.to_state() for name, part in world.parts.items() if hasattr(part, "to_state")},
    }
    objects = [entry.data for rtype in world.registry for entry in world.store.entries(rtype)]
    return msgspec.json.encode(head)[:-1] + b',"objects":[\n' + b",\n".join(objects) + b"\n]}\n"


def load_state(world: World, data: bytes) -> None:
    """Replaces everything by a saved state. Controllers begin anew from what they find.

    Raises:
        ConfigError: it is no such document, or holds what this lab does not serve.
    """
    document = _parse(data)
    try:
        at = parse_time(document["clock"]["now"])
    except (KeyError, TypeError, ValueError) as error:
        raise _no_state("its clock cannot be read") from error
    objects = [_check_object(obj) for obj in document["objects"]]
    # Definitions first: what they define is served only then.
    definitions = [obj for obj in objects if obj["kind"] == CRDS.kind]
    others = [obj for obj in objects if obj["kind"] != CRDS.kind]
    defined = {(obj["spec"]["group"], obj["spec"]["names"]["kind"]) for obj in definitions}
    for obj in others:
        group = obj["apiVersion"].rpartition("/")[0]
        if (group, obj["kind"]) not in defined and world.registry.find_kind(
            obj["apiVersion"], obj["kind"]
        ) is None:
            raise _no_state(f"nothing here serves {obj['kind']} of {obj['apiVersion']}")
    working = any(controller.working for controller in world.controllers)
    world.stop()
    world.clock.reset(at)
    world.store.clear()
    for controller in world.controllers:
        if isinstance(controller, DefinitionController):
            controller.serve_only(definitions)
    for obj in (*definitions, *others):
        rtype = world.registry.find_kind(obj["apiVersion"], obj["kind"])
        if rtype is not None:
            world.store.restore(rtype, obj)
    world.context.recorder.start_over()
    for name, part in world.parts.items():
        if name in document.get("parts", {}) and hasattr(part, "load_state"):
            part.load_state(document["parts"][name])
    if working:
        world.start()


def _parse(data: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _no_state("it is no JSON") from error
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise _no_state(f"its kind is not {KIND}")
    if document.get("version") != _VERSION:
        raise _no_state(f"its version is {document.get('version')!r}, not {_VERSION}")
    if not isinstance(document.get("objects"), list):
        raise _no_state("it has no objects")
    return document


def _check_object(obj: Any) -> Object:
    """Whether it can be an object at all; what it holds is trusted, for a lab has written it."""
    try:
        texts = [obj["apiVersion"], obj["kind"], obj["metadata"]["name"]]
        if obj["kind"] == CRDS.kind:
            texts += [obj["spec"]["group"], obj["spec"]["names"]["kind"]]
    except (KeyError, TypeError) as error:
        raise _no_state("it holds something that is no object") from error
    if not all(isinstance(text, str) for text in texts):
        raise _no_state("it holds something that is no object")
    checked: Object = obj
    return checked


def _no_state(why: str) -> ConfigError:
    return ConfigError(
        f"this is no state of a practice cluster: {why}", hint="give a file that `vmkit lab save` wrote"
    )
