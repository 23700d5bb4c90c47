"""Reports as pages: values in, one self-contained HTML page or one Markdown document out.

blocks      what a page is made of: frozen values, no markup
html        a page as HTML: inline style and SVG, no scripts, nothing loaded from anywhere
markdown    the same page as GitHub-flavoured Markdown
charts      the pictures, as inline SVG
numbers     how numbers look

Text that comes from guests and clusters is hostile. Blocks hold it as it is; the renderers escape it, and make
characters visible that would reorder or hide text. docs/reports.md shows how a report is put together.
"""

from vmkit.report.page.blocks import (
    Badge,
    Bar,
    BarChart,
    Block,
    Callout,
    Cell,
    Code,
    Definitions,
    Details,
    Figure,
    HeatMap,
    Inline,
    KeyFigures,
    LineChart,
    Matrix,
    Meter,
    Mono,
    Page,
    Paragraph,
    Prose,
    Section,
    Series,
    Sparkline,
    StackedBars,
    Stretch,
    Strong,
    Table,
    TableColumn,
    Timeline,
    Tone,
)

__all__ = [
    "Badge",
    "Bar",
    "BarChart",
    "Block",
    "Callout",
    "Cell",
    "Code",
    "Definitions",
    "Details",
    "Figure",
    "HeatMap",
    "Inline",
    "KeyFigures",
    "LineChart",
    "Matrix",
    "Meter",
    "Mono",
    "Page",
    "Paragraph",
    "Prose",
    "Section",
    "Series",
    "Sparkline",
    "StackedBars",
    "Stretch",
    "Strong",
    "Table",
    "TableColumn",
    "Timeline",
    "Tone",
]
