"""Text from clusters made safe for terminals, and short texts for instants and spans.

A name, an annotation or a message is whatever somebody wrote into the cluster: left as it is, it could move the
cursor, change the window's title or hide what stands beside it.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

# C0 and C1 control characters (C1 holds the one-byte CSI and OSC), and the characters that reorder or hide text:
# bidirectional controls (the "Trojan Source" set), zero-width ones, line and paragraph separators, surrogates.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape_text(text: str) -> str:
    """The text on one line; what a terminal would act upon is written as an escape ("\\\\x1b", "\\\\n")."""
    return _UNSAFE.sub(_escape, text) if _UNSAFE.search(text) else text


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def escape_lines(text: str) -> str:
    """Like `escape_text`, but line ends stay: for whole documents and diffs."""
    return "\n".join(escape_text(line) for line in text.split("\n"))


def format_age(created_at: datetime | None, *, at: datetime) -> str:
    """How long ago, as kubectl writes it ("45s", "10m", "3h12m", "5d", "2y31d"); "<unknown>" without a time.

    The steps are those of k8s.io/apimachinery/pkg/util/duration.HumanDuration.
    """
    if created_at is None:
        return "<unknown>"
    return format_span(at - created_at)


def format_span(span: timedelta) -> str:
    """A span as kubectl writes it; see `format_age`."""
    seconds = int(span.total_seconds())
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"
