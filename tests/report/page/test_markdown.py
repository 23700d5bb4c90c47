"""Pages as Markdown: what a reader of Markdown makes of them is what was meant, and text stays text."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.report.page.samples import AT, HOSTILE, sample_page
from vmkit.report.page import Callout, Code, Mono, Page, Prose, Section, Table, TableColumn, Tone
from vmkit.report.page.markdown import render_markdown

_READER = MarkdownIt("commonmark").enable("table")


def _types(text: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for token in _READER.parse(text):
        found[token.type] += 1
        found.update(child.type for child in token.children or () if child.type != "text")
    return found


def _cells(text: str) -> list[str]:
    """What stands in the cells of tables, in order."""
    found, inside = [], False
    for token in _READER.parse(text):
        inside = token.type in ("th_open", "td_open") or (inside and token.type == "inline")
        if inside and token.type == "inline":
            found.append("".join(child.content for child in token.children or ()))
    return found


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.strip() == text) | st.just(HOSTILE.strip()))
def test_text_becomes_no_markup(text: str) -> None:
    plain, page = _types(render_markdown(sample_page("web"))), _types(render_markdown(sample_page(text)))
    assert page == plain


def _block(*blocks: object) -> str:
    return render_markdown(Page("T", "S", AT, sections=(Section("Part", blocks),)))  # type: ignore[arg-type]


def test_hostile_text_makes_no_link_mention_or_html() -> None:
    text = _block(Prose(("see https://evil.example, www.evil.example, @all, #1, <b>, ![x](y), `x`",)))
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    inside = Counter(child.type for token in tokens for child in token.children or ())
    assert not inside & Counter({"link_open": 1, "image": 1, "html_inline": 1, "code_inline": 1})
    assert "https\\://" in text
    assert "www\\.evil" in text
    assert "\\@all" in text


def test_cells_hold_bars_and_ticks() -> None:
    text = _block(Table("VMs", (TableColumn("VM"), TableColumn("Why")), ((Mono("a|b`c"), "x | y"),)))
    assert _cells(text) == ["VM", "Why", "a|b`c", "x | y"]


def test_a_fence_is_longer_than_what_it_holds() -> None:
    tokens = _READER.parse(_block(Code("```\nrm\n````\n", "sh")))
    assert [token.content for token in tokens if token.type == "fence"] == ["```\nrm\n````\n"]


def test_a_paragraph_that_begins_like_a_list_is_a_paragraph() -> None:
    for start in ("- a", "+ a", "1. a", "12) a", "# a", "> a", "---", "===", "=", "* a", "    a"):
        assert not set(_types(_block(Prose((start,))))) & {
            "bullet_list_open", "ordered_list_open", "code_block", "blockquote_open",
        }, start  # fmt: skip
        assert _types(_block(Prose((start,))))["hr"] == 1


def test_tones_become_alerts() -> None:
    assert "> [!CAUTION]\n> **Problem: No disk**\n>\n> Look." in _block(Callout(Tone.BAD, "No disk", ("Look.",)))


def test_rows_left_out_are_counted() -> None:
    rows = tuple((str(number),) for number in range(1500))
    assert "1,300 more in the JSON." in _block(Table("VMs", (TableColumn("VM"),), rows))


def test_pictures_have_their_numbers() -> None:
    text = render_markdown(sample_page())
    assert "| web | 220 GiB | ████████████████████ |" in text
    assert "| web | in use 40 %, quiet 30 %, web 30 % |" in text
    assert "| search | 1.5 | 0 | 2 |" in text
