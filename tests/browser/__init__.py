"""Reports, opened in a real browser.

A test asks for the fixture `browser` and hands it HTML:

    def test_the_report_is_presentable(browser: Browser) -> None:
        browser.inspect(render_html(page), name="idle")

`Browser.inspect` opens it in the system's headless Chromium, light and dark, on a phone (360 px) and on a desk
(1280 px), and fails on anything that axe-core finds, on a page that scrolls sideways, on a request, and on a word
in the console. `Browser.look` does it once and returns what there was, the answer of a question in JavaScript
included.
With ``VMKIT_SCREENSHOTS=FOLDER`` each look leaves a picture there, named after the test's ``name``.
"""
