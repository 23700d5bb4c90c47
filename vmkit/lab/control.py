"""The lab's own endpoints, under ``/vmkit.io/lab/``: clock, faults, state, status; for the lab's own user
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from vmkit.errors import VmkitError
from vmkit.lab.clock import format_time, parse_time
from vmkit.lab.faults import Faults, parse_fault
from vmkit.lab.http.request import Request
from vmkit.lab.resources import Object, Response
from vmkit.lab.semantics.decoding import DecodeFailed, parse_json
from vmkit.lab.status import bad_request, method_not_allowed, no_such_resource

if TYPE_CHECKING:
    from vmkit.lab.assembly import World

Handler = Callable[[Request], Response]


class Control:
    """Answers them. Other parts add their own with `add`.

    Args:
        stop: ends the lab.
    """

    def __init__(self, world: World, faults: Faults, stop: Callable[[], None]) -> None:
        self._world = world
        self._faults = faults
        self._stop = stop
        self._handlers: dict[str, Handler] = {
            "clock": self._clock,
            "faults": self._answer_faults,
            "state": self._state,
            "status": self._status,
            "down": self._down,
        }
        from vmkit.lab import extensions

        extensions.add_endpoints(self, world)

    def add(self, name: str, handler: Handler) -> None:
        """Answers ``/vmkit.io/lab/NAME`` and what is below it."""
        self._handlers[name] = handler

    def answer(self, request: Request) -> Response:
        """The answer to a request below ``/vmkit.io/lab/``.

        Raises:
            ApiError: 400, 404 or 405.
        """
        name = request.path.split("/")[3]
        handler = self._handlers.get(name)
        if handler is None:
            raise no_such_resource()
        try:
            return handler(request)
        except VmkitError as error:
            raise bad_request(error.message + (f" ({error.hint})" if error.hint else "")) from error

    def _clock(self, request: Request) -> Response:
        """GET: where it stands. POST {"advance_seconds": 60} | {"to": time} | {"freeze": true} | {"speed": 2}."""
        clock = self._world.clock
        if request.method == "POST":
            body = read_object(request)
            if "advance_seconds" in body:
                clock.advance(timedelta(seconds=_number(body, "advance_seconds")))
            if "to" in body:
                try:
                    at = parse_time(str(body["to"]))
                except ValueError as error:
                    raise bad_request(f"{body['to']!r} is no time (RFC 3339 with a zone)") from error
                if at < clock.now():
                    raise bad_request("the clock only moves forward")
                clock.advance(at - clock.now())
            if body.get("freeze"):
                clock.freeze()
            if "speed" in body:
                speed = _number(body, "speed")
                if speed <= 0:
                    raise bad_request("the speed of a clock is above zero")
                clock.run(speed=speed)
        elif request.method != "GET":
            raise method_not_allowed()
        return Response(body={"now": format_time(clock.now()), "frozen": clock.frozen, "speed": clock.speed})

    def _answer_faults(self, request: Request) -> Response:
        """GET: the list. POST: a fault, or {"script": [...]}. DELETE: none any more."""
        if request.method == "POST":
            body = read_object(request)
            if "script" in body:
                script = body["script"]
                if not isinstance(script, list):
                    raise bad_request("a script is a list of faults")
                self._faults.play([parse_fault(each) for each in script])
            else:
                self._faults.add(parse_fault(body))
        elif request.method == "DELETE":
            self._faults.clear()
        elif request.method != "GET":
            raise method_not_allowed()
        return Response(body={"faults": self._faults.list()})

    def _state(self, request: Request) -> Response:
        """GET: everything, as `Lab.save` writes it. PUT: replaces everything."""
        from vmkit.lab.state import dump_state, load_state

        if request.method == "GET":
            return Response(body=dump_state(self._world), content_type="application/json")
        if request.method != "PUT":
            raise method_not_allowed()
        load_state(self._world, request.body)
        return Response(body={"loaded": True})

    def _status(self, request: Request) -> Response:
        if request.method != "GET":
            raise method_not_allowed()
        world = self._world
        counts = {rtype.resource: count for rtype in world.registry if (count := world.store.count(rtype))}
        status: Object = {
            "now": format_time(world.clock.now()),
            "frozen": world.clock.frozen,
            "speed": world.clock.speed,
            "resourceVersion": str(world.store.version),
            "objects": counts,
            "faults": len(self._faults.list()),
            "failures": list(world.context.failures),
            "kubevirt": world.context.options.get("kubevirt"),
        }
        return Response(body=status)

    def _down(self, request: Request) -> Response:
        if request.method != "POST":
            raise method_not_allowed()
        self._stop()
        return Response(202, body={"stopping": True})


def read_object(request: Request) -> Mapping[str, Any]:
    """The JSON object of a request's body; an empty body is an empty object.

    Raises:
        ApiError: 400.
    """
    if not request.body.strip():
        return {}
    try:
        body = parse_json(request.body)
    except DecodeFailed as error:
        raise bad_request(str(error)) from error
    if not isinstance(body, dict):
        raise bad_request("the body is no JSON object")
    return body


def _number(body: Mapping[str, Any], name: str) -> float:
    value = body[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise bad_request(f"{name} is a number, and not negative")
    return float(value)
