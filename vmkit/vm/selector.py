"""Label selectors as kubectl writes them, checked before anything is sent.

The grammar is that of Kubernetes, apimachinery pkg/labels/selector.go. Pure.
"""

from __future__ import annotations

import re
from typing import Final

from vmkit.errors import UsageError

_SPACE: Final = r"[ \t\r\n]"
_WORD: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_KEY: Final = rf"(?:[a-z0-9](?:[a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_WORD}"
_SET: Final = rf"{_SPACE}*\({_SPACE}*(?!\))(?:{_WORD})?(?:{_SPACE}*,{_SPACE}*(?:{_WORD})?)*{_SPACE}*\)"
_REQUIREMENT: Final = (
    rf"{_SPACE}*(?:!{_SPACE}*{_KEY}"
    rf"|{_KEY}(?:{_SPACE}*(?:==?|!=){_SPACE}*(?:{_WORD})?|{_SPACE}*[<>]{_SPACE}*[0-9]+"
    rf"|{_SPACE}+(?:in|notin){_SET})?){_SPACE}*"
)
_SELECTOR: Final = re.compile(rf"{_REQUIREMENT}(?:,{_REQUIREMENT})*")


def check_selector(text: str) -> None:
    """Refuses what no API server would take for a label selector; an empty one selects everything.

    Raises:
        UsageError: it is none.
    """
    if text.strip() and not _SELECTOR.fullmatch(text):
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        raise UsageError(
            f"{shown!r} is no label selector",
            hint='write it as "app=web,tier!=test", "env in (a,b)", "app" or "!app"',
            where="--selector",
        )
