"""Pages in a real browser, with every kind of block on them."""

from __future__ import annotations

from tests.browser.chromium import PHONE, Browser
from tests.report.page.samples import HOSTILE, sample_page
from vmkit.report.page.html import render_html


def test_every_block_is_presentable(browser: Browser) -> None:
    browser.inspect(render_html(sample_page("shop/web")), name="blocks")


def test_hostile_text_does_nothing_and_breaks_no_layout(browser: Browser) -> None:
    html = render_html(sample_page(HOSTILE + "a" * 300))
    sight = browser.look(
        html, name="hostile", width=PHONE, question="document.scripts.length + document.images.length"
    )
    assert (sight.answer, sight.requests, sight.messages) == (0, [], [])
    assert sight.content_width <= PHONE


def test_the_look_itself_finds_what_is_wrong(browser: Browser) -> None:
    html = render_html(sample_page()).replace(
        "<main", "<img src='https://example.invalid/x.png'><p style='width:3000px;color:#ccc'>pale</p><main", 1
    )
    html = html.replace("default-src 'none'", "default-src *")
    sight = browser.look(html, name="wrong")
    assert sight.requests == ["https://example.invalid/x.png"]
    assert {each.split(":")[0] for each in sight.violations} >= {"image-alt", "color-contrast"}
    assert sight.content_width >= 3000
    assert sight.messages


def test_a_page_is_printed_dark_on_white_with_its_details(browser: Browser) -> None:
    pdf = browser.print_pdf(render_html(sample_page()), name="print")
    assert pdf.startswith(b"%PDF")
