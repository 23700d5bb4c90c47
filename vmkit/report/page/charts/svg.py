"""Elements of SVG as safe markup."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from vmkit.report.text import escape_text


def element(name: str, children: Iterable[Markup] | str = (), /, **attributes: str | float | None) -> Markup:
    """An element; everything that is not markup already is escaped.

    Args:
        name: of the element.
        children: markup, or a text.
        attributes: an underscore at the end is dropped ("class_"), others are hyphens; None leaves one out.
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(
            key.removesuffix("_").replace("_", "-"), _number(value) if isinstance(value, float | int) else value
        )
        for key, value in attributes.items()
        if value is not None
    )
    inner = escape(escape_text(children)) if isinstance(children, str) else Markup("").join(children)
    tag = Markup(name)  # noqa: S704 - names of elements are written in this package
    if not inner:
        return Markup("<{}{}/>").format(tag, written)
    return Markup("<{}{}>{}</{}>").format(tag, written, inner, tag)


def picture(
    children: Iterable[Markup], *, title: str, description: str = "", **attributes: str | float | None
) -> Markup:
    """A whole picture, with what is read out instead of it."""
    spoken = [element("title", title)]
    if description:
        spoken.append(element("desc", description))
    label = escape_text(f"{title}. {description}" if description else title)
    return element("svg", [*spoken, *children], role="img", aria_label=label, **attributes)


def percent(share: float) -> str:
    """A share of 0 to 1 as a length: "12.5%"."""
    return f"{_number(min(1.0, max(0.0, share)) * 100)}%"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
