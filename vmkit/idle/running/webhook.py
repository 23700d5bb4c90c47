"""What a chat or a mail gateway is told after a run: one POST of JSON, best effort."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from vmkit.errors import UsageError

_SECONDS: Final = 10.0
_MOST: Final = 200
"""So many VMs are named; the counts are of all."""


def check_url(url: str) -> None:
    """Refuses what no POST can go to.

    Raises:
        UsageError: it is no http or https address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError("the webhook is no address", hint="--webhook https://chat.example/hooks/vmkit")


def build_message(run: str, at: str, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is sent: ``text`` for chats that know nothing else, and the VMs for programs."""
    marked = sum(each["action"] == "mark" for each in items)
    stopped = sum(each["action"] == "stop" for each in items)
    names = ", ".join(f"{each['namespace']}/{each['name']}" for each in items[:20])
    more = f" and {len(items) - 20} more" if len(items) > 20 else ""
    text = f"vmkit stop-idle: {marked} VMs noted as idle, {stopped} stopped: {names}{more}"
    return {
        "kind": "IdleNotice", "run": run, "at": at, "text": text, "marked": marked, "stopped": stopped,
        "items": list(items[:_MOST]),
    }  # fmt: skip


def send(url: str, message: dict[str, Any]) -> str:
    """Sends it.

    Returns:
        What went wrong, without the address, which may hold a secret; empty where nothing did.
    """
    import urllib3

    try:
        with urllib3.PoolManager(retries=False, timeout=_SECONDS) as pool:
            reply = pool.request(
                "POST", url, body=json.dumps(message), headers={"Content-Type": "application/json"}, redirect=False
            )
            status = reply.status
    except urllib3.exceptions.HTTPError as error:
        return f"the webhook could not be told: {type(error).__name__}"
    return "" if 200 <= status < 300 else f"the webhook answered {status}"
