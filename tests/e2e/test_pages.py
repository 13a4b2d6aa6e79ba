"""The pages as people see them: a real service, and Debian's Chromium."""

import io
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.e2e.service import Service, wait_until
from tests.e2e.test_faults import STEADY

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

SMALL = {"dataset": "digits", "model": {"arch": "mlp", "hidden": [16]}, "epochs": 4, "seeds": 3}
AXE = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "resultTypes": ["violations"],  # of what is as it should be nothing is worked out
}
OWN = {
    "layers": [
        {"conv": 4, "stride": 2},
        "relu",
        {"repeat": 2, "layers": [{"residual": [{"conv": 4}, "relu"]}]},
        "flatten",
    ]
}
HOSTILE = "<img src=x onerror=alert(1)>\"'{{7*7}}</script><script>alert(2)</script>"


EXPECTED = re.compile(
    r"409 \(Conflict\)|dialog: Delete the selected"
    r"|(404 \(Not Found\)|422 \(Unpro.*\)) (/ui/|/experiments/exp_\w+/metrics$)"
)
"""What a page may complain of: a verb that is refused, what is asked before a deletion, pages of what is not there or
not understood, and the curves of what was deleted a moment ago. Nothing that a page is made of may be missing.
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def made(service: Service) -> dict[str, str]:
    """Ids of what the pages show: two experiments and a study that are done."""
    plain = service.submit({**SMALL, "name": "plain", "labels": {"week": "3"}})
    hostile = service.submit(
        {
            **SMALL,
            "name": HOSTILE,
            "model": OWN,
            "labels": {"note": HOSTILE},
            "probes": ["gradient_flow"],
        }
    )
    spec = {name: value for name, value in SMALL.items() if name != "seeds"}
    study = service.post(
        "/studies", {"spec": spec, "vary": {"model.hidden": [[8], [16]]}, "seeds": 2}
    )
    for one in (plain, hostile):
        record = service.wait_for(one, "succeeded")
    wait_until(lambda: service.get(f"/studies/{study['id']}")["is_terminal"], 60, "it is done")
    return {
        "plain": plain["id"],
        "hostile": hostile["id"],
        "study": study["id"],
        "run": record["runs"][0]["id"],
    }


@pytest.fixture
def open_page(browser: Browser, service: Service) -> Iterator[Callable[..., Page]]:
    """Opens pages that complain of nothing and ask nobody else for anything."""
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    def open_(path: str, *, width: int = 1280, dark: bool = False, **more: Any) -> Page:
        context = browser.new_context(
            base_url=f"http://127.0.0.1:{service.port}",
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            **more,
        )
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda said: (
                complaints.append(f"{said.text} {urlsplit(said.location['url']).path}")
                if said.type in ("error", "warning")
                else None
            ),
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith((f"http://127.0.0.1:{service.port}/", "data:", "blob:"))
                else complaints.append(f"asks for {asked.url}")
            ),
        )
        answer = page.goto(path)
        assert answer is not None
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [said for said in complaints if not EXPECTED.search(said)] == []


def addresses(made: dict[str, str]) -> dict[str, str]:
    return {
        "list": "/ui/experiments",
        "experiment": f"/ui/experiments/{made['plain']}",
        "hostile": f"/ui/experiments/{made['hostile']}",
        "run": f"/ui/runs/{made['run']}",
        "compare": f"/ui/compare?e={made['plain']},{made['hostile']}",
        "studies": "/ui/studies",
        "study": f"/ui/studies/{made['study']}",
        "recipes": "/ui/recipes",
        "queue": "/ui/queue",
        "datasets": "/ui/datasets",
        "class": "/ui/class",
        "new": "/ui/new",
        "wall": f"/ui/experiments/{made['plain']}?wall=1",
        "wall of all": "/ui/experiments?wall=1",
        "clone": f"/ui/new?like={made['plain']}",
        "nothing to compare": "/ui/compare",
        "what is confused": f"/ui/experiments/{made['plain']}/confusion",
        "network": f"/ui/experiments/{made['hostile']}/network",
        "mistakes": f"/ui/runs/{made['run']}/predictions?wrong=true",
        "archive": "/ui/experiments?archived=true&label=week:3",
        "wall of the class": "/ui/class?wall=1",
        "login": "/ui/login",
        "gone": "/ui/experiments/exp_none",
        "not understood": "/ui/experiments?sort=best",
    }


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_page_is_for_everybody_and_asks_nobody_else(
    open_page: Callable[..., Page], made: dict[str, str], dark: bool
) -> None:
    """P4, P5, P11: axe finds nothing, nothing leaves the service, no name is ever run, and 400 pixels are enough."""
    page = open_page("/ui/experiments", width=400 if dark else 1280, dark=dark)
    for name, address in addresses(made).items():
        answer = page.goto(address)
        assert answer is not None
        assert "script-src 'self'" in answer.headers["content-security-policy"], name
        if page.locator("[data-chart]").count():
            page.locator("[data-chart] canvas").first.wait_for()
        if name == "list":
            page.locator("input[name=pick]").first.check()
        found = Axe().run(page, options=AXE)
        assert not found.response["violations"], f"{name}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name


def test_an_experiment_is_made_with_the_keyboard_alone(
    open_page: Callable[..., Page], service: Service, made: dict[str, str]
) -> None:
    page = open_page("/ui/experiments")
    page.keyboard.press("n")
    page.wait_for_url("**/ui/new")
    expect(page.locator("#plan dl")).to_contain_text("Parameters")
    page.get_by_label("Epochs", exact=True).focus()
    page.keyboard.type("none")
    expect(page.locator("#plan")).to_contain_text("Epochs")
    expect(page.get_by_label("Epochs", exact=True)).to_have_attribute("aria-invalid", "true")
    beside = page.locator("#error-f-epochs")
    expect(beside).to_have_text("Input should be a valid integer")
    page.keyboard.press("Control+a")
    page.keyboard.type("3")
    expect(page.locator("#plan dl")).to_contain_text("Runs")
    drawn = page.locator("#plan .network")
    page.locator("#plan summary").first.press("Enter")
    expect(drawn).to_contain_text("linear, 10")
    page.get_by_label("Network", exact=True).focus()
    page.keyboard.type("vgg")
    expect(drawn, "it stays open while one goes on writing").to_contain_text("max pool")
    page.keyboard.type("mlp")
    expect(beside).to_have_count(0)
    page.get_by_label("Name").focus()
    page.keyboard.type("by hand")
    page.get_by_role("button", name="Train it").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/ui/experiments/exp_"))
    expect(page.get_by_role("heading", level=1)).to_have_text("by hand")
    assert service.get("/experiments?limit=1")["data"][0]["name"] == "by hand"


def test_what_trains_is_watched(
    open_page: Callable[..., Page], service: Service, made: dict[str, str]
) -> None:
    """P1: number of the epoch, last point of the curve and the end, without a reload."""
    spec = {**SMALL, "name": "watched", "dataset": {"name": "digits", "train_limit": 1000}}
    watched = service.submit({**spec, "model": {"arch": "cnn", "widths": [8]}, "epochs": 60})
    service.post(f"/experiments/{watched['id']}/pause")  # until both pages are there
    page = open_page("/ui/experiments")
    row = page.locator(f"#{watched['id']}")
    page = open_page(f"/ui/experiments/{watched['id']}")
    page.evaluate("globalThis.here = true")
    expect(page.locator("#live")).to_have_text("live")
    service.post(f"/experiments/{watched['id']}/resume")
    page.locator("canvas").first.wait_for(timeout=60_000)
    last = page.locator(".legend thead th").first
    seen = set()

    def is_done() -> bool:
        seen.add(page.locator(".legend tbody").inner_text())
        return page.locator("#now .head .status").inner_text() == "succeeded"

    wait_until(is_done, 120, "the page says that it has succeeded")
    expect(last).to_have_text("last epoch")
    assert len(seen) > 1
    assert page.evaluate("globalThis.here")
    accuracy = service.record(watched)["results"]["test"]["accuracy"]["mean"]
    expect(page.locator(".numbers .main dd")).to_contain_text(f"{100 * accuracy:.2f}")
    expect(page.locator("#live")).to_have_text("up to date")
    expect(row.locator(".status")).to_have_text("succeeded")


def test_an_image_of_ones_own_is_answered_with_what_the_answer_rests_on(
    open_page: Callable[..., Page], service: Service
) -> None:
    """As the API says it."""
    image = io.BytesIO()
    Image.new("L", (40, 40), 120).save(image, "PNG")
    file = {"name": "own.png", "mimeType": "image/png", "buffer": image.getvalue()}
    small = {"dataset": {"name": "digits", "train_limit": 300}, "epochs": 1, "seeds": 1}
    network = {"arch": "cnn", "width": 8, "stages": 1, "blocks_per_stage": 1}
    made = service.wait_for(service.submit({**small, "model": network}), "succeeded")
    run = made["runs"][0]["id"]
    page = open_page(f"/ui/runs/{run}")
    page.locator("[data-predict] input").set_input_files(file)  # type: ignore[arg-type]
    shown = page.locator(".answers img")
    expect(shown).to_have_count(2)
    address = f"/runs/{run}/predict?explain=gradcam"
    said = service.http.post(address, content=image.getvalue()).json()
    picture = f"data:image/png;base64,{said['explanation']['picture']}"
    expect(shown.nth(1)).to_have_attribute("src", picture)
    assert shown.nth(1).evaluate("image => image.naturalWidth") == 192
    expect(page.locator(".answers progress")).to_have_count(5)


def test_the_form_has_the_fields_of_the_chosen_network_alone(
    open_page: Callable[..., Page], service: Service
) -> None:
    page = open_page("/ui/new")
    depth = page.get_by_label("Depth")
    depth.fill("5")
    page.get_by_label("Network").select_option("resnet18")
    expect(depth).to_be_hidden()
    expect(page.locator("#plan dl")).to_contain_text("11,1")  # the depth of before is not sent
    page.get_by_label("Network").select_option("")
    expect(depth).to_be_visible()


def test_a_first_visit_ends_with_a_figure_of_two_compared(
    open_page: Callable[..., Page], service: Service, made: dict[str, str]
) -> None:
    """In six clicks, as docs/results.md counts them; whoever goes back to a form finds what they wrote."""
    page = open_page("/")
    page.get_by_role("link", name="New experiment").click()
    page.get_by_label("Name").fill("a first one")
    page.get_by_label("Epochs", exact=True).fill("2")
    page.get_by_label("Epochs", exact=True).fill("tne")
    page.get_by_role("button", name="Train it").click()
    expect(page.locator("#said")).to_contain_text("This is not trained")
    expect(page.get_by_label("Name")).to_have_value("a first one")
    page.get_by_label("Epochs", exact=True).fill("2")
    page.get_by_role("button", name="Train it").click()
    page.get_by_role("link", name="Clone with changes").click()
    page.get_by_label("Epochs", exact=True).fill("3")
    page.get_by_role("button", name="Train it").click()
    page.wait_for_url(re.compile("/ui/experiments/exp_"))
    page.go_back()
    expect(page.get_by_label("Epochs", exact=True)).to_have_value("3")
    page.go_forward()
    expect(page.locator("#now .head .status")).to_have_text("succeeded", timeout=60_000)
    page.get_by_role("link", name="Compare with the original").click()
    page.locator("[data-chart] canvas").first.wait_for()
    with page.expect_download() as begun:
        page.locator("#curves .downloads").get_by_role("link", name="PDF").click()
    assert begun.value.path().read_bytes().startswith(b"%PDF")


def test_what_is_deleted_elsewhere_leaves_the_others_moving(
    open_page: Callable[..., Page], service: Service, made: dict[str, str]
) -> None:
    """A comparison goes on with those that are left, in its table, its curves and its stream."""
    short = quick(service, "is deleted")
    service.wait_for(short, "succeeded")
    long = service.submit({**SMALL, "name": "goes on", "seeds": 1, "epochs": 5000})
    page = open_page(f"/ui/compare?e={short['id']},{long['id']}")
    page.locator("[data-chart] canvas").first.wait_for(timeout=60_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    service.http.delete(f"/experiments/{short['id']}").raise_for_status()
    expect(page.locator("#now .said")).to_contain_text(short["id"], timeout=30_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("1 experiment compared")
    expect(page.locator(".legend tbody tr").first).to_contain_text("is deleted")
    row = page.locator(".legend tbody tr").nth(1)
    before = row.inner_text()
    expect(row).not_to_have_text(before, timeout=30_000)
    expect(page.locator("#live")).to_have_text("live")
    assert any(url.endswith(f"/events?experiments={long['id']}") for url in asked)
    service.post(f"/experiments/{long['id']}/cancel")


def test_what_is_deleted_as_soon_as_it_has_ended_is_not_said_to_be_up_to_date(
    open_page: Callable[..., Page], service: Service
) -> None:
    """Its stream ends with it; that it is gone is known when the page is read anew, a moment later."""
    long = service.submit({**SMALL, "name": "deleted at once", "seeds": 1, "epochs": 5000})
    page = open_page(f"/ui/experiments/{long['id']}")
    expect(page.locator("#live")).to_have_text("live")
    page.route(f"**/ui/experiments/{long['id']}", lambda route: route.fulfill(status=404))
    service.post(f"/experiments/{long['id']}/cancel")
    service.wait_for(long, "cancelled")
    service.http.delete(f"/experiments/{long['id']}").raise_for_status()
    expect(page.locator("#live")).to_have_text("deleted", timeout=30_000)
    page.wait_for_timeout(1500)
    expect(page.locator("#live")).to_have_text("deleted")


def test_addresses_that_nobody_means_draw_what_there_is(
    open_page: Callable[..., Page], made: dict[str, str]
) -> None:
    """An unknown metric and a stretch without epochs are left out; seeds are asked for when they are drawn."""
    page = open_page(f"/ui/experiments/{made['plain']}")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"/ui/experiments/{made['plain']}?m=nothing,loss&z=900-999")
    page.locator("[data-chart] canvas").first.wait_for()
    assert page.locator(".panel h3").all_inner_texts() == ["Loss"]
    assert page.locator(".legend th").all_inner_texts() == [
        "last epoch",
        "n",
        "val loss",
        "train loss",
    ]
    of_each = [url for url in asked if "/metrics" in url and "aggregate" not in url]
    assert of_each == []
    page.keyboard.press("b")
    with page.expect_request(
        lambda request: request.url.endswith("/metrics?format=columns&after=0")
    ):
        page.keyboard.press("b")


def test_verbs_and_refusals_are_said_on_the_page(
    open_page: Callable[..., Page], service: Service, made: dict[str, str]
) -> None:
    long = service.submit({**SMALL, "name": "long", "seeds": 1, "epochs": 5000})
    page = open_page(f"/ui/experiments/{long['id']}")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#now .head .status")).to_have_text("paused", timeout=20_000)
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    service.post(f"/experiments/{long['id']}/cancel")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#said")).to_contain_text("nothing is left to pause")
    expect(page.get_by_role("button", name="Retry")).to_be_visible(timeout=20_000)


def test_without_javascript_everything_is_read_and_steered(
    open_page: Callable[..., Page], service: Service, made: dict[str, str]
) -> None:
    """P9."""
    page = open_page("/ui/experiments", java_script_enabled=False)
    page.get_by_role("link", name="plain", exact=True).click()
    expect(page.locator("#curves img")).to_be_visible()
    expect(page.locator("#runs tbody tr")).to_have_count(3)
    page.get_by_role("link", name="Clone with changes").click()
    page.get_by_label("Epochs", exact=True).fill("5000")
    page.get_by_role("button", name="Train it").click()
    page.get_by_role("button", name="Cancel").click()

    def is_cancelled() -> bool:
        page.reload()
        return page.locator("#now .head .status").inner_text() == "cancelled"

    wait_until(is_cancelled, 20, "it is cancelled")
    page.goto(f"/ui/runs/{made['run']}")
    expect(page.locator("#predict")).to_have_count(1)
    expect(page.locator("#predict")).to_be_hidden()


def numbers(service: Service, experiment_id: str) -> list[str]:
    """The lines of a chart's table, worked out from the API's own answer."""
    over = service.get(f"/experiments/{experiment_id}/metrics?format=columns&aggregate=seeds")
    name = service.get(f"/experiments/{experiment_id}")["name"]

    def shown(split: str, score: str, place: int) -> str:
        mean = over[split][score]["mean"][place]
        return f"{100 * mean:.2f}" if score == "accuracy" else f"{mean:#.4g}"

    return [
        "\t".join(
            [
                name,
                str(epoch),
                str(over["val"]["loss"]["n"][place]),
                *(
                    shown(split, score, place)
                    for score in ("loss", "accuracy")
                    for split in ("val", "train")
                ),
            ]
        )
        for place, epoch in enumerate(over["epochs"])
    ]


def test_two_are_picked_and_compared(
    open_page: Callable[..., Page], service: Service, made: dict[str, str]
) -> None:
    """The chart's state is its address: whoever opens it sees the same (P7), and its numbers are the API's (P8)."""
    page = open_page("/ui/experiments?label=week:3")
    page.goto("/ui/experiments?sort=created_at")
    boxes = page.locator("input[name=pick]")
    boxes.nth(0).check()
    boxes.nth(1).check()
    page.keyboard.press("c")
    page.wait_for_url("**/ui/compare?e=*")
    page.locator("canvas").first.wait_for()
    page.keyboard.press("l")
    page.keyboard.press("b")
    assert "y=log" in page.url
    assert "b=range" in page.url
    first = page.locator(".panels").screenshot()
    again = open_page(page.url)
    again.locator("canvas").first.wait_for()
    assert again.locator(".panels").screenshot() == first
    again.get_by_text("Show as table").click()
    said = [line for one in (made["plain"], made["hostile"]) for line in numbers(service, one)]
    rows = again.locator(".chart details tbody tr")
    expect(rows).to_have_count(len(said))
    assert rows.all_inner_texts() == said


@pytest.mark.slow
def test_a_page_outlives_the_service(
    browser: Browser, make_service: Callable[..., Service]
) -> None:
    """P10: told that it is lost, and up to date again, without a reload, and without a point or a line twice."""
    service = make_service()
    killed = service.api()
    service.start("worker", "--workers", "1")
    made = service.submit({**STEADY, "epochs": 16, "name": "first"})
    run_id = made["runs"][0]["id"]
    pages = [
        browser.new_page(base_url=f"http://127.0.0.1:{service.port}", viewport=size)
        for size in ({"width": 1280, "height": 900}, {"width": 400, "height": 900})
    ]
    page, of_the_run = pages
    page.goto(f"/ui/experiments/{made['id']}")
    of_the_run.goto(f"/ui/runs/{run_id}")
    log = of_the_run.locator("[data-log]")
    for one in pages:
        one.evaluate("globalThis.here = true")
        expect(one.locator("#live")).to_have_text("live")
    expect(log).to_contain_text("epoch 3/16", timeout=60_000)
    killed.kill()
    killed.wait()
    for one in pages:
        expect(one.locator("#live")).to_have_text("reconnecting…")
    service.api()
    service.http.patch(f"/experiments/{made['id']}", json={"name": "second"}).raise_for_status()
    for one in pages:
        expect(one.locator("#live")).to_have_text("up to date", timeout=90_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("second")
    expect(page.locator(".legend tbody")).to_contain_text("second")
    page.get_by_text("Show as table").click()
    rows = page.locator(".chart details tbody tr")
    expect(rows).to_have_count(16)
    shown, stored = (
        [row.partition("\t")[2] for row in found]
        for found in (rows.all_inner_texts(), numbers(service, made["id"]))
    )
    assert shown == stored
    written = service.http.get(f"/runs/{run_id}/log").text
    expect(log).to_contain_text("epoch 16/16")
    assert log.text_content() == written
    for one in pages:
        assert one.evaluate("globalThis.here")
        one.close()


def quick(service: Service, name: str, **more: Any) -> dict[str, Any]:
    """One that ends soon."""
    made: dict[str, Any] = service.submit({**SMALL, "seeds": 1, "epochs": 1, "name": name, **more})
    return made


@pytest.mark.parametrize("reason", ["terminal", "revoked"])
def test_a_page_whose_key_is_revoked_does_not_say_that_it_is_up_to_date(
    open_page: Callable[..., Page], made: dict[str, str], reason: str
) -> None:
    page = open_page("/ui/queue")
    ended = f'event: end\ndata: {{"reason": "{reason}"}}\n\n'
    page.route(
        "**/events?*", lambda route: route.fulfill(body=ended, content_type="text/event-stream")
    )
    page.goto("/ui/experiments")
    said = {"terminal": "up to date", "revoked": "log in again"}[reason]
    page.get_by_text(said, exact=True).wait_for()


@pytest.mark.parametrize("width", [1280, 400])
def test_names_as_long_as_they_may_be_leave_room_for_what_is_said_of_them(
    open_page: Callable[..., Page], service: Service, width: int
) -> None:
    names = "short", 200 * "N", (18 * "many words ").strip()
    made = [
        quick(service, name, model={"hidden": [8 + number]}) for number, name in enumerate(names)
    ]
    for one in made:
        service.wait_for(one, "succeeded")
    page = open_page(f"/ui/compare?e={','.join(one['id'] for one in made)}", width=width)
    page.locator("[data-chart] canvas").first.wait_for()
    tables = page.locator("main .scroll:has(> table.stacked)")
    wide = tables.evaluate_all("all => all.map(one => one.scrollWidth - one.clientWidth)")
    assert wide == [0, 0, 0, 0], "of results, verdicts, what the curves say, and what differs"
    for found in page.locator("td.found").all():
        box = found.bounding_box()
        assert box is not None
        assert box["width"] > 250
        assert box["height"] < 400


def test_the_list_shows_what_is_new_where_nothing_moves(
    open_page: Callable[..., Page], service: Service, made: dict[str, str]
) -> None:
    """What arrives waits above the table, what is ticked stays so, and what is asked of many is said of each."""
    page = open_page("/ui/experiments?q=arrives")
    expect(page.locator("#live")).to_have_text("live")
    page.goto("/ui/experiments")
    expect(page.locator("#live")).to_have_text("live")
    first = page.locator("#rows tbody tr").first
    first.locator("input").check()
    ticked, place = first.get_attribute("id"), first.bounding_box()
    arrived = [quick(service, f"arrives {number}")["id"] for number in range(2)]
    fresh = page.locator("#fresh button")
    expect(fresh).to_have_text("2 new", timeout=20_000)
    assert (first.get_attribute("id"), first.bounding_box()) == (ticked, place)
    fresh.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#rows tbody tr").nth(2)).to_have_attribute("id", str(ticked))
    expect(page.locator("#rows tbody tr").nth(0)).to_have_attribute("id", arrived[1])
    expect(page.locator(f"#{ticked} input")).to_be_checked()
    expect(fresh).to_have_count(0)
    page.keyboard.press("x")
    expect(page.locator(f"#{arrived[1]} input")).to_be_checked()
    page.locator("#f-label").fill("seen:yes")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("Label: 2 done")
    expect(page.locator(f"#{arrived[1]}")).to_contain_text("seen:yes")
    for one in arrived:
        service.wait_for({"id": one}, "succeeded")
    expect(page.locator(f"#{arrived[1]} .status")).to_have_text("succeeded", timeout=20_000)
    succeeded = page.locator(".chips a", has_text="succeeded").locator("span")
    total = service.get("/experiments/counts")["by_status"]["succeeded"]
    expect(succeeded).to_have_text(str(total), timeout=20_000)
    page.locator(".bar button[value=resume]").click()
    expect(page.locator("#said")).to_contain_text("Resume: 0 done, 2 refused")
    expect(page.locator("#said")).to_contain_text("is paused; it has the status succeeded")
    page.locator(f"#{ticked} input").uncheck()
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator(".bar button[value=delete]").click()
    expect(page.locator("#said")).to_contain_text("Delete: 1 done")
    expect(page.locator(f"#{arrived[1]}")).to_have_count(0)
    expect(succeeded).to_have_text(str(total - 1))
    assert service.http.get(f"/experiments/{arrived[1]}").status_code == 404


def test_a_list_whose_rows_have_all_been_archived_says_that_it_is_empty(
    open_page: Callable[..., Page], service: Service, made: dict[str, str]
) -> None:
    for number in range(2):
        quick(service, f"shelved {number}")
    page = open_page("/ui/experiments?q=shelved&limit=1&sort=created_at")
    chips, rows = page.locator(".chips"), page.locator("#rows tbody tr")
    expect(rows).to_contain_text("shelved 0")
    for there in ("shelved 1", None):
        page.locator("input[name=pick]").check()
        page.locator(".bar button[value=archive]").click()
        expect(page.locator("#said")).to_contain_text("Archive: 1 done")
        if there is not None:
            expect(rows).to_contain_text(there)
            expect(chips.get_by_text("all")).to_have_text("all 1")
    expect(page.locator(".empty")).to_contain_text("No experiment is like this.")
    expect(page.locator("#rows, .bar, .chips, .more")).to_have_count(0)
    assert page.url.endswith("?q=shelved&sort=created_at")
    page.goto("/ui/queue")
    page.go_back()
    expect(page.locator(".empty")).to_be_visible()


def test_what_waits_is_put_first_and_last_and_a_log_is_searched_and_read_whole(
    open_page: Callable[..., Page], service: Service, made: dict[str, str]
) -> None:
    """The queue by mouse and by keyboard; meanwhile the log of what is trained."""
    long = service.submit({**SMALL, "name": "in front", "seeds": 1, "epochs": 5000})
    wait_until(lambda: service.record(long)["status"] == "running", 60, "it runs")
    waiting = [service.submit({**SMALL, "name": f"waits {one}", "epochs": 9}) for one in "ab"]
    page = open_page("/ui/queue")
    rows = page.locator("tr[id^=waits-]")
    expect(rows).to_have_count(6)
    expect(rows.nth(0)).to_contain_text("waits a")
    expect(page.locator("input[name=priority]")).to_have_count(2)
    page.get_by_label("Raise the priority of waits b").click()
    expect(rows.nth(0)).to_contain_text("waits b")
    field = page.get_by_label("Priority of waits b", exact=True)
    expect(field).to_have_value("1")
    field.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("-3")
    page.keyboard.press("Enter")
    expect(rows.nth(5)).to_contain_text("waits b")
    assert [row["priority"] for row in service.get("/queue")["data"]] == [*3 * [0], *3 * [-3]]
    service.http.patch(f"/experiments/{waiting[0]['id']}", json={"priority": -9})
    expect(rows.nth(0)).to_contain_text("waits b", timeout=20_000)  # by itself

    service.wait_for_epoch(long, 310)
    page.goto(f"/ui/runs/{long['runs'][0]['id']}")
    log = page.locator("[data-log]")
    expect(log).to_contain_text("epoch ")
    expect(log).not_to_contain_text("epoch 2/5000")
    page.get_by_role("button", name="Load the whole log").click()
    expect(log).to_contain_text("epoch 2/5000")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("/")
    page.keyboard.type("EPOCH 30/")
    expect(page.locator("#log [role=status]")).to_have_text(re.compile("^1 of [0-9]+ lines$"))
    expect(log).to_contain_text("epoch 30/5000")
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    for one in (long, *waiting):
        service.post(f"/experiments/{one['id']}/cancel")
    service.wait_for(long, "cancelled")
    written = service.http.get(f"/runs/{long['runs'][0]['id']}/log").text
    expect(log).to_have_text(written)  # no line is missing, none comes twice


def test_whoever_comes_back_finds_as_many_rows(
    open_page: Callable[..., Page], service: Service, made: dict[str, str]
) -> None:
    page = open_page("/ui/experiments?limit=1&sort=created_at")
    rows = page.locator("#rows tbody tr")
    for there in (2, 3):
        page.get_by_role("link", name="More", exact=True).click()
        expect(rows).to_have_count(there)
    assert page.url.endswith("limit=3&sort=created_at")
    ids = [row.get_attribute("id") for row in rows.all()]
    rows.nth(2).locator("a.name").click()
    page.wait_for_url(re.compile("/ui/experiments/exp_"))
    page.go_back()
    expect(rows).to_have_count(3)
    assert [row.get_attribute("id") for row in rows.all()] == ids
    page.get_by_role("link", name="More", exact=True).click()
    expect(rows.nth(3)).to_be_visible()


def test_many_are_asked_without_javascript(
    open_page: Callable[..., Page], service: Service, made: dict[str, str]
) -> None:
    one = quick(service, "by form")
    service.wait_for(one, "succeeded")
    page = open_page("/ui/experiments?q=by+form", java_script_enabled=False)
    expect(page.locator(".bar")).to_be_hidden()
    page.locator("input[name=pick]").check()
    page.locator(".bar button[value=pause]").click()
    expect(page.locator("#said")).to_contain_text("nothing is left to pause")
    page.get_by_role("link", name="Back to the list").click()
    assert page.url.endswith("?q=by+form")
    page.locator("input[name=pick]").check()
    page.locator(".bar button[value=delete]").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#said")).to_contain_text("It is deleted")


def test_a_wall_goes_on_by_itself_and_is_left_with_escape(
    open_page: Callable[..., Page], service: Service, made: dict[str, str]
) -> None:
    long = service.submit({**SMALL, "name": "on the wall", "seeds": 1, "epochs": 5000})
    wait_until(lambda: service.record(long)["status"] == "running", 60, "it runs")
    for moves in ("no-preference", "reduce"):
        page = open_page("/ui/queue", reduced_motion=moves)
        page.clock.install()
        page.goto("/ui/experiments?wall=1&sort=created_at")
        assert page.evaluate("getComputedStyle(document.documentElement).fontSize") == "32px"
        expect(page.locator(".top nav")).to_be_hidden()
        expect(page.locator("input[name=pick]").first).to_be_hidden()
        page.clock.run_for(21_000)
        if moves == "reduce":
            page.wait_for_timeout(300)
            assert "/ui/experiments?wall=1" in page.url
        else:
            page.wait_for_url(f"**/ui/experiments/{long['id']}?wall=1&start=*")
            expect(page.get_by_role("heading", level=1)).to_have_text("on the wall")
            page.clock.run_for(21_000)
            page.wait_for_url("**/ui/experiments?sort=created_at&wall=1")
        page.keyboard.press("Escape")
        page.wait_for_url(lambda url: url.endswith("/ui/experiments?sort=created_at"))
    service.post(f"/experiments/{long['id']}/cancel")
