"""The documents as pages: each is served whole, its links lead somewhere, and none of its text is markup."""

import re
import tomllib
from html import unescape
from pathlib import Path
from urllib.parse import urldefrag, urljoin

import pytest
from starlette.testclient import TestClient

from app.pages import documents
from app.pages.markdown import Target, as_html
from app.pages.rendering import rendered

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.sqlite


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every document's page, by its address."""
    from app.main import create_app
    from app.settings import Settings

    settings = Settings(home=tmp_path_factory.mktemp("home"), log_level="ERROR", _env_file=None)
    with TestClient(create_app(settings)) as api:
        found = {}
        for path in documents.documents():
            answer = api.get(documents.address_of(path))
            assert answer.status_code == 200, path
            found[documents.address_of(path)] = answer.text
        return found


def test_every_document_and_picture_is_in_the_package() -> None:
    """In a checkout they are links; an installed service has what its package data names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["app"]
    folder = documents.FOLDER.parent
    packed = {path for pattern in patterns for path in folder.glob(pattern)}
    shown = {documents.FOLDER / path for path in documents.documents()}
    pictures = set((documents.FOLDER / documents.IMAGES).iterdir())
    assert pictures
    assert shown | pictures <= packed


def ids_of(page: str) -> list[str]:
    return re.findall(r'\bid="([^"]+)"', page)


def test_every_document_but_those_for_contributors_has_a_page(pages: dict[str, str]) -> None:
    named = {*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "decisions").glob("*.md")}
    assert set(documents.documents()) == {
        "README.md",
        *(str(one.relative_to(ROOT)) for one in named),
    }
    assert {"/ui/docs", "/ui/docs/readme", "/ui/docs/tour", "/ui/docs/decisions"} <= set(pages)
    assert len(pages) == len(named) + 1


def test_every_link_of_a_page_leads_to_what_is_there(
    pages: dict[str, str], api: TestClient
) -> None:
    """Documents, headings, pictures and other pages of this service; nothing is loaded from elsewhere."""
    asked: dict[str, int] = {}
    followed = 0
    for address, page in pages.items():
        article = page[page.index('<article class="document">') : page.index("</article>")]
        for target in map(unescape, re.findall(r'(?:href|src)="([^"]*)"', article)):
            if re.match(r"https?:", target):
                assert f'src="{target}' not in article
                continue
            there, anchor = urldefrag(urljoin(address, target))
            followed += 1
            if there in pages:
                assert not anchor or anchor in ids_of(pages[there]), f"{address}: {target}"
            else:
                if there not in asked:
                    asked[there] = api.get(there).status_code
                assert asked[there] == 200, f"{address}: {target}"
    assert followed > 300


def test_no_heading_takes_the_name_of_a_part_of_the_page(pages: dict[str, str]) -> None:
    for address, page in pages.items():
        ids = ids_of(page)
        assert len(ids) == len(set(ids)), address


def test_the_first_page_leads_to_every_document(pages: dict[str, str]) -> None:
    index = pages["/ui/docs"]
    for address in pages.keys() - {"/ui/docs"}:
        if not re.match("/ui/docs/decisions/.", address):
            assert f'href="{address}"' in index or f'href="{address}#' in index, address


def test_a_page_has_its_contents_its_code_and_its_tables_in_boxes(pages: dict[str, str]) -> None:
    page = pages["/ui/docs/studies"]
    assert page.count('<a href="#searching">Searching</a>') == 2  # beside the text, or above it
    assert '<h2 id="searching">Searching</h2>' in page
    assert page.count("<table>") == page.count('<div class="scroll" tabindex="0"><table>') > 1
    assert '<pre tabindex="0" data-copy><code>curl -d' in page
    assert '<td class="right">5</td>' in page
    assert "<!--" not in page
    assert " style=" not in "".join(pages.values())
    assert re.search(
        r'<img src="/ui/docs/images/study.png" alt="[^"]+" loading="lazy" width="\d+" height="\d+" />',
        pages["/ui/docs/tour"],
    )


def test_pages_and_pictures_are_sent_once(api: TestClient) -> None:
    for address in ("/ui/docs", "/ui/docs/tour", "/ui/docs/images/study.png"):
        tag = api.get(address).headers["etag"]
        again = api.get(address, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "name",
    ["nothing", "contributing/lifecycle", "images/x.png", "images/..%2ftour.md", "docs/tour"],
)
def test_what_is_no_document_is_a_page_that_says_so(api: TestClient, name: str) -> None:
    answer = api.get(f"/ui/docs/{name}")
    assert answer.status_code == 404
    assert "There is no document" in answer.text or "ave no picture" in answer.text


def test_an_installation_without_documents_says_so(
    api: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "FOLDER", tmp_path)
    answer = api.get("/ui/docs")
    assert answer.status_code == 404
    assert "This installation has no docs/README.md" in answer.text


def test_headings_are_found_by_their_words(api: TestClient) -> None:
    def found(words: str) -> list[str]:
        text = api.get("/ui/docs", params={"q": words}).text
        return re.findall(r'<li><a href="([^"]+)">', text)

    assert found("quotas")[0] == "/ui/docs/keys#quotas"
    assert found("QUOTA")[0] == "/ui/docs/keys#quotas"
    assert "/ui/docs/machines#batch-systems" in found(
        "several batch"
    )  # of the title and of the heading
    assert found("nosuchword") == []
    assert "No title and no heading has this word." in api.get("/ui/docs?q=nosuchword").text
    assert "&lt;b&gt;" in api.get("/ui/docs", params={"q": "<b>"}).text


def test_nothing_of_a_text_is_markup() -> None:
    hostile = (
        "# <script>alert(1)</script> `a` & b\n\n<!-- hidden -->\n\n<img src=x onerror=alert(1)>\n\n"
        '[bad](javascript:alert(1)) [x](<a"onclick=b>) <b>bold</b>\n\n| <i>a</i> | b |\n|:--|--:|\n| 1 | 2 |\n\n'
        '```bash "><script>\n</code></pre><script>\n```\n'
    )
    made = as_html(hostile, lambda target: Target(target))
    tags = set(re.findall(r"<(/?[a-z0-9]+)", made.html))
    assert tags <= {
        *("h1", "p", "a", "code", "pre", "div", "table", "thead", "tbody", "tr", "th", "td"),
        *(f"/{one}" for one in ("h1", "p", "a", "code", "pre", "div", "table")),
        *(f"/{one}" for one in ("thead", "tbody", "tr", "th", "td")),
    }
    assert "hidden" not in made.html
    assert 'href="javascript' not in made.html
    assert not re.search(r"<[^>]* on\w+=", made.html)
    assert made.html in rendered(
        "documents.html",
        document=made,
        name="x",
        asked=None,
        found=None,
        wall=None,
        path="/ui/docs/x",
        query="",
        owner=None,
        may_write=False,
        is_admin=False,
    )


def test_anchors_are_those_of_github() -> None:
    made = as_html(
        "# A `b` & c: d\n\n## Why?\n\n## Why?\n\n## [x](y.md) two  words\n", lambda _: None
    )
    assert [one.anchor for one in made.headings] == ["a-b--c-d", "why", "why-1", "x-two--words"]
    assert made.title == "A b & c: d"
    assert '<h2 id="why-1">' in made.html
    assert "<span>x</span>" in made.html


def test_links_are_followed_from_where_the_document_lies() -> None:
    def led(target: str, path: str) -> str | None:
        place = documents.target_of(target, path)
        return place and place.address

    assert led("keys.md#quotas", "docs/tour.md") == "/ui/docs/keys#quotas"
    assert led("../README.md", "docs/tour.md") == "/ui/docs/readme"
    assert led("docs/tour.md", "README.md") == "/ui/docs/tour"
    assert led("0015-keys.md", "docs/decisions/README.md") == "/ui/docs/decisions/0015-keys"
    assert led("../decisions/README.md", "docs/decisions/0015-keys.md") == "/ui/docs/decisions"
    assert led("#start", "docs/keys.md") == "/ui/docs/keys#start"
    assert led("../lab_models/specs/__init__.py", "docs/architecture.md") is None
    assert led("contributing/lifecycle.md", "docs/architecture.md") is None
    assert led("http://127.0.0.1:8000/docs", "docs/tour.md") == "/docs"
    assert led("http://127.0.0.1:8000", "README.md") == "/"
    assert led("https://example.org/x.md", "README.md") == "https://example.org/x.md"


def test_the_images_bring_the_documents() -> None:
    """Their links are followed where a wheel is built, so what they lead to must be there."""
    assert "COPY docs docs\n" in (ROOT / "Dockerfile").read_text()
    assert "!docs\n" in (ROOT / ".dockerignore").read_text()
    assert {one.name: str(one.readlink()) for one in documents.FOLDER.iterdir()} == {
        "README.md": "../../README.md",
        "docs": "../../docs",
    }
