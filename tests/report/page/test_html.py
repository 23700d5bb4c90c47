"""Pages as HTML: well formed, self-contained, and nothing but text where text was given."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.page.samples import AT, HOSTILE, every_block, sample_page
from vmkit.report.page import Bar, BarChart, HeatMap, Page, Section, Table, TableColumn
from vmkit.report.page.html import render_html

_VOID = {"meta", "br", "hr", "img", "input", "link"}


class Reader(HTMLParser):
    """Elements in their order, and that each is closed where it should be."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_element_is_closed_and_every_id_is_there_once() -> None:
    page = Reader(render_html(sample_page()))
    assert len(page.ids) == len(set(page.ids))
    links = [value[1:] for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
    assert set(links) <= set(page.ids)


@given(st.text(max_size=60) | st.just(HOSTILE))
def test_text_stays_text_wherever_it_stands(text: str) -> None:
    plain, page = Reader(render_html(sample_page("web"))), Reader(render_html(sample_page(text)))
    # An empty text leaves out what it would have been in; else the page has the same elements, whatever it says.
    if text.strip():
        assert page.tags == plain.tags
    assert [each[:2] for each in page.attributes if each[1].startswith("on")] == []


def test_what_would_reorder_or_hide_text_is_made_visible() -> None:
    html = render_html(sample_page(HOSTILE))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", html)
    assert "\\u202e\\x1b]0;x\\x07" in html


def test_nothing_is_loaded_and_nothing_runs() -> None:
    html = render_html(sample_page(HOSTILE))
    page = Reader(html)
    assert not {"script", "img", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    loading = {"src", "srcset", "action", "data", "poster", "xlink:href"}
    assert not [each for each in page.attributes if each[1] in loading]
    assert all(value.startswith("#") for _, name, value in page.attributes if name == "href")
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in style
    assert set(re.findall(r"url\((.)", style)) == {"#"}
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    assert ("meta", "content", policy) in page.attributes


def test_rows_over_the_limit_are_counted() -> None:
    rows = tuple((f"vm-{number}", "1") for number in range(10_000))
    table = Table("VMs", (TableColumn("VM"), TableColumn("CPUs", numeric=True)), rows, limit=300)
    html = render_html(Page("Fleet", "All of it.", AT, sections=(Section("VMs", (table,)),)))
    assert html.count("<tr>") == 301
    assert "<strong>9,700 more</strong> in the JSON." in html


def test_a_table_that_holds_only_some_of_its_rows_says_how_many_there_are() -> None:
    table = Table("VMs", (TableColumn("VM"),), (("a",),), total=7)
    assert table.left_out == 6


def test_sections_of_one_name_have_anchors_of_their_own() -> None:
    sections = tuple(Section(name, ()) for name in ("Found", "Found", "content", "§§", "found-title"))
    ids = Reader(render_html(Page("x", "y", AT, sections=sections))).ids
    assert len(set(ids)) == len(ids)


def test_bars_without_values_have_no_length() -> None:
    chart = BarChart("Nothing", "", (Bar("a", 0), Bar("b", float("nan"))))
    html = render_html(Page("x", "y", AT, sections=(Section("s", (chart,)),)))
    assert 'class="k1"' not in html
    assert "–" in html


@pytest.mark.parametrize(("rows", "tips"), [(10, True), (40, False)])
def test_cells_of_a_small_heat_map_say_their_value(rows: int, tips: bool) -> None:
    values = tuple(float(number % 7) for number in range(30))
    chart = HeatMap(
        "Map", "", tuple(map(str, range(30))), tuple((f"vm-{row}", values) for row in range(rows)), "h"
    )
    html = render_html(Page("x", "y", AT, sections=(Section("s", (chart,)),)))
    assert ("<title>vm-0 5: 5 h</title>" in html) is tips
    assert "vm-0: most at 6 (6 h), least at 0 (0 h)" in html


def test_the_same_page_is_written_the_same_way() -> None:
    page = sample_page()
    assert render_html(page) == render_html(replace(page, lead=every_block()[:2]))
