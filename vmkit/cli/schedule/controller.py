"""``vmkit schedule run --watch``: the controller in the foreground, until a signal ends it."""

from __future__ import annotations

import json
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING, Any

from vmkit.cli.app import App
from vmkit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from vmkit.api import Vmkit
    from vmkit.schedule.controller.controller import Controller
    from vmkit.schedule.controller.lines import Line
    from vmkit.schedule.running.passing import PassOptions
    from vmkit.schedule.running.settings import Settings


def run_controller(
    app: App,
    vk: Vmkit,
    options: PassOptions,
    reload: Callable[[], Settings],
    *,
    listen: str | None,
    lease: tuple[str, str] | None,
    resync: timedelta,
    output: str | None,
) -> ExitCode:
    """Runs it, and writes one line for each thing that happens.

    Args:
        app, vk, options: what a single pass gets too.
        reload: reads the settings again.
        listen: the value of --listen.
        lease: namespace and name; None for no election.
        resync: see `WatchOptions`.
        output: "json" writes JSON lines to stdout; None lines to stderr.

    Returns:
        0 after SIGTERM, 130 after SIGINT.
    """
    from vmkit.schedule.controller.controller import WatchOptions
    from vmkit.schedule.controller.election import LeaseOptions
    from vmkit.schedule.controller.serving import parse_listen

    if output not in (None, "json"):
        raise UsageError(f"-o {output} is for what has an end", hint="with --watch, -o json writes JSON lines")

    def write(line: Line) -> None:
        if output == "json":
            app.console.report_document(json.dumps(line.to_dict(), ensure_ascii=False))
        elif line.problem:
            app.console.problem(str(line))
        else:
            app.console.note(str(line))

    watch = WatchOptions(
        lease=None if lease is None else LeaseOptions(*lease),
        listen=None if listen is None else parse_listen(listen),
        resync=resync,
    )
    controller = vk.schedule.controller(options, watch, reload=reload, on_line=write)
    with _ended_by_signals(controller) as ended_by:
        controller.run()
    return ExitCode.INTERRUPTED if signal.SIGINT in ended_by else ExitCode.OK


@contextmanager
def _ended_by_signals(controller: Controller) -> Iterator[list[int]]:
    """SIGTERM and SIGINT stop the controller; the second of them ends the process at once.

    A handler runs between any two steps of the main thread, also where that holds a lock. So it takes none itself:
    it hands the signal to a thread that stops the controller.
    """
    seen: list[int] = []
    coming: queue.SimpleQueue[int] = queue.SimpleQueue()

    def handle(number: int, _: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)
        coming.put(number)

    def stop() -> None:
        if coming.get():
            controller.stop()

    threading.Thread(target=stop, name="vmkit-signals", daemon=True).start()
    before: dict[signal.Signals, Any] = {}
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, handle)
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        coming.put(0)
