"""The documents, README and docs/, as pages: read offline, searched by their headings, linked to each other.

They are files of the package (`app/documents` links to them in a checkout), so an installed service has those of its
own version.
"""

import posixpath
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import Query, Request, Response
from PIL import Image

import app
from app.api.http.page_addresses import PAGES
from app.api.http.tags import has, tag_of, unchanged
from app.errors import NotFound
from app.pages.markdown import Rendered, Section, Target, as_html
from app.pages.rendering import page, pages

FOLDER: Final = Path(app.__file__).with_name("documents")
ADDRESS: Final = f"{PAGES}/docs"
INDEX: Final = "docs/README.md"
PATTERNS: Final = ("README.md", "docs/*.md", "docs/decisions/*.md")
IMAGES: Final = "docs/images"
THIS_SERVICE: Final = re.compile(r"http://(?:127\.0\.0\.1|localhost):8000(?=[/?#]|$)")
"""As the documents call the service whose page this is."""
MOST_FOUND: Final = 60

router = pages()


@dataclass(frozen=True)
class Found:
    """A heading that a search has found, in the document with this title and address."""

    title: str
    heading: Section
    address: str


@router.get("/docs")
def show_documents(request: Request, q: Annotated[str | None, Query(max_length=100)] = None) -> Any:
    """The documents by what they are for, or the headings that have all words of `q`."""
    document = read_document(INDEX)
    found = None if q is None else found_by(q)
    return page(request, "documents.html", document=document, name="", asked=q, found=found)


@router.get("/docs/images/{name}")
def show_image(request: Request, name: str) -> Any:
    """A picture of the documents."""
    path = FOLDER / IMAGES / name
    if path.suffix != ".png" or path.parent != FOLDER / IMAGES or not path.is_file():
        raise NotFound(f"the documents have no picture {name[:100]!r}")
    content = path.read_bytes()
    tag = tag_of(content)
    if has(request, tag):
        return unchanged(tag)
    return Response(content, media_type="image/png", headers={"ETag": tag})


@router.get("/docs/{name:path}")
def show_document(request: Request, name: str) -> Any:
    """One document."""
    path = next((one for one in documents() if name_of(one) == name.removesuffix(".md")), None)
    if path is None or path == INDEX:
        raise NotFound(f"there is no document {name[:100]!r}: {ADDRESS} lists all")
    document = read_document(path)
    return page(request, "documents.html", document=document, name=name, asked=None, found=None)


def documents() -> list[str]:
    """The paths of all documents, from the project's root."""
    return sorted(
        str(path.relative_to(FOLDER)) for pattern in PATTERNS for path in FOLDER.glob(pattern)
    )


def name_of(path: str) -> str:
    """A document's name in an address."""
    name = path.removeprefix("docs/").removesuffix(".md")
    return {"README": "" if path == INDEX else "readme"}.get(name, name.removesuffix("/README"))


def address_of(path: str) -> str:
    """Where a document is served."""
    return f"{ADDRESS}/{name_of(path)}".rstrip("/")


def read_document(path: str) -> Rendered:
    """A document as HTML. Raises NotFound where the package was installed without it."""
    file = FOLDER / path
    if not file.is_file():
        raise NotFound(f"this installation has no {path}: the documents were left out of it")
    return _rendered(path, file.stat().st_mtime_ns)


def found_by(asked: str) -> list[Found]:
    """The headings that have all these words, or whose document's title has them; those that have them all first."""
    words = asked.casefold().split()
    ranked = []
    for path in documents():
        document = read_document(path)
        for heading in document.headings:
            own = heading.text.casefold()
            missing = sum(word not in own for word in words)
            if all(word in own or word in document.title.casefold() for word in words):
                rank = (missing, "decisions" in path, heading.level, path)
                address = f"{address_of(path)}#{heading.anchor}"
                ranked.append((rank, Found(document.title, heading, address)))
    return [found for _, found in sorted(ranked, key=lambda one: one[0])[:MOST_FOUND]]


def target_of(target: str, path: str) -> Target | None:
    """Where a link in the document at `path` leads from its page; None for what is not served, such as code."""
    here = THIS_SERVICE.sub("", target)
    if here != target or re.match(r"[a-z]+:", target):
        return Target(here or "/")
    beside, _, anchor = target.partition("#")
    there = posixpath.normpath(posixpath.join(posixpath.dirname(path), beside)) if beside else path
    if posixpath.dirname(there) == IMAGES and (FOLDER / there).is_file():
        with Image.open(FOLDER / there) as image:
            return Target(f"{ADDRESS}/images/{posixpath.basename(there)}", image.size)
    if there not in documents():
        return None
    return Target(address_of(there) + (f"#{anchor}" if anchor else ""))


@lru_cache(maxsize=200)
def _rendered(path: str, changed_at: int) -> Rendered:  # noqa: ARG001 - what is kept is of this change
    """As the file is since it was changed last."""
    return as_html((FOLDER / path).read_text(), lambda target: target_of(target, path))
