"""The group ``vmkit report``, and what its commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vmkit.cli.app import App
from vmkit.cli.options import OUTPUT, group, option
from vmkit.errors import ConfigError

if TYPE_CHECKING:
    from vmkit.report.page import Page

F = TypeVar("F", bound=Callable[..., Any])


@group("report")
def report() -> None:
    """See what VMs really need, and what they take.

    Use is read from Prometheus: from --prometheus, or from one found in the cluster. docs/insight.md says how each
    number comes about.
    """


def page_options(function: F) -> F:
    """--html and --md: the report as a file; values ``html`` and ``markdown`` are paths or None."""
    function = option(
        "--md", "markdown", metavar="FILE", heading=OUTPUT, help="Write the report as Markdown as well."
    )(function)
    decorated: F = option(
        "--html", metavar="FILE", heading=OUTPUT, help="Write the report as one HTML page as well."
    )(function)
    return decorated


def write_page(app: App, page: Page, *, html: str | None, markdown: str | None) -> None:
    """Writes the files that were asked for.

    Raises:
        ConfigError: one cannot be written.
    """
    from vmkit.report.page.html import render_html
    from vmkit.report.page.markdown import render_markdown

    for path, render in ((html, render_html), (markdown, render_markdown)):
        if path is None:
            continue
        try:
            Path(path).write_text(render(page), encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be written: {error.strerror}", hint="give a path you may write to", where=path
            ) from error
        app.console.note(f"wrote {path}")
