"""The documents in a browser: for everybody, in both themes, on a phone, by keyboard, and asking nobody else."""

import json
import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.service import Service
from tests.e2e.test_pages import AXE, browser, open_page, pytestmark  # noqa: F401 - fixtures


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:  # type: ignore[misc]
    """An API alone: documents need no worker."""
    running = Service(tmp_path_factory.mktemp("home"))
    running.api()
    yield running  # type: ignore[misc]
    running.stop()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_documents_are_for_everybody(open_page: Callable[..., Page], dark: bool) -> None:  # noqa: F811
    """axe finds nothing, and at 400 pixels nothing is wider than the page but what scrolls by itself."""
    for name in (
        "",
        "/tour",
        "/commands",
        "/architecture",
        "/decisions",
        "?q=keys",
        "?q=nothing-at-all",
    ):
        page = open_page(f"/ui/docs{name}", width=400 if dark else 1280, dark=dark)
        page.wait_for_load_state("load")
        found = Axe().run(page, options=AXE)
        assert not found.response["violations"], f"{name}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
        page.context.close()


def test_a_document_is_found_read_and_copied_by_keyboard(open_page: Callable[..., Page]) -> None:  # noqa: F811
    page = open_page("/ui/queue")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.wait_for_url("**/ui/docs")
    page.keyboard.press("/")
    page.keyboard.type("pause cancel")
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="Repeat, pause, cancel, retry, delete")
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui/docs/tour#repeat-pause-cancel-retry-delete")
    heading = page.get_by_role("heading", name="Repeat, pause, cancel, retry, delete")
    expect(heading).to_be_in_viewport()
    contents = page.get_by_role("navigation", name="On this page")
    contents.get_by_role("link", name="Send an experiment").focus()
    page.keyboard.press("Enter")
    block = page.locator("pre[data-copy]").first
    button = block.locator("xpath=following-sibling::button")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == block.text_content()
    assert json.loads(re.findall(r"-d '(\{[^']*\})'", copied)[0])["dataset"] == "digits"


def test_without_javascript_documents_are_read_and_searched(open_page: Callable[..., Page]) -> None:  # noqa: F811
    page = open_page("/ui/docs", java_script_enabled=False)
    page.get_by_label("Search the documents").fill("quotas")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Quotas", exact=True).first.click()
    expect(page.get_by_role("heading", name="Quotas", exact=True)).to_be_in_viewport()
    page.goto("/ui/docs/pages")
    picture = page.get_by_role("img", name=re.compile("Two experiments compared"))
    picture.scroll_into_view_if_needed()
    expect(picture).to_be_visible()


def test_a_table_that_is_too_wide_scrolls_by_itself(open_page: Callable[..., Page]) -> None:  # noqa: F811
    page = open_page("/ui/docs/studies", width=400)
    wide = page.locator(".document .scroll").evaluate_all(
        "all => all.map(one => one.scrollWidth - one.clientWidth)"
    )
    assert max(wide) > 100
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
