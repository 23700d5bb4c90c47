"""The reports as pages, in a real browser."""

from __future__ import annotations

import pytest

from tests.browser.chromium import Browser
from tests.insight.energy.test_account import energy_report
from tests.insight.test_capacity import capacity_report
from vmkit.insight.energy.show import build_page as build_energy_page
from vmkit.insight.show_capacity import build_page as build_capacity_page
from vmkit.report.page.html import render_html

pytestmark = pytest.mark.timeout(300)


def test_the_capacity_page_is_presentable(browser: Browser) -> None:
    browser.inspect(render_html(build_capacity_page(capacity_report())), name="capacity")


def test_the_energy_page_is_presentable(browser: Browser) -> None:
    browser.inspect(render_html(build_energy_page(energy_report(), by="owner")), name="energy")
