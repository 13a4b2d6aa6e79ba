"""Templates, and the answers made of them: a page, a refusal, or the way to another page."""

import json
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import app
from app.api.http import passes
from app.api.http.error_handlers import answer_to
from app.api.http.page_addresses import PAGES
from app.api.http.passes import Route
from app.api.http.problems import Problem
from app.api.http.tags import has, tag_of, unchanged
from app.errors import InvalidRequest
from app.pages import words
from app.pages.assets import asset
from app.roles import Role
from app.services.owners.keys import ANYONE, Caller
from app.tabulation import real_minus

Result = TypeVar("Result")

HTML: Final = "text/html; charset=utf-8"
KEPT_HEADERS: Final = frozenset({"retry-after", "allow"})
MOST_FIELDS: Final = 100
"""Of a form."""

_templates = Environment(
    loader=FileSystemLoader(Path(app.__file__).with_name("templates") / "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals["asset"] = asset
_templates.filters["pretty"] = lambda document: json.dumps(
    document, indent=2, ensure_ascii=False, default=str
)
_templates.filters["real_minus"] = real_minus
_templates.filters["address"] = lambda said: urlencode(_said(said), doseq=True)
_templates.filters |= {
    name: getattr(words, name)
    for name in (
        "after_verdict",
        "age",
        "aligned",
        "between",
        "clock",
        "count",
        "duration",
        "is_fraction",
        "number",
        "or_dash",
        "sentence",
        "short_count",
        "size",
        "until",
        "with_interval",
    )
}


def _said(options: dict[str, Any]) -> dict[str, Any]:
    """As an address says them; None is left out."""
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in options.items()
        if value is not None
    }


class PageRoute(Route):
    """A route whose refusals are pages; what a form leaves empty is not said."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, around which refusals become pages."""
        handle = super().get_route_handler()

        async def shown(request: Request) -> Response:
            pairs = parse_qsl(request.scope["query_string"].decode("latin-1"))  # without empty ones
            request.scope["query_string"] = urlencode(pairs).encode("latin-1")
            try:
                return await handle(request)
            except Exception as error:  # noqa: BLE001 - the handlers know what is said of each
                return _refused(request, answer_to(request, error))

        return shown


def pages() -> APIRouter:
    """A router of pages."""
    return APIRouter(prefix=PAGES, route_class=PageRoute, include_in_schema=False)


def page(request: Request, template: str, status: int = 200, **shown: Any) -> Response:
    """The page that the template makes of what it is given."""
    caller: Caller = getattr(request.state, "caller", ANYONE)
    text = rendered(
        template,
        **{"wall": None} | shown,
        path=request.url.path,
        query=request.url.query,
        owner=None if caller is ANYONE else caller.owner,
        may_write=caller.role is not Role.READ,
        is_admin=caller.role is Role.ADMIN,
    ).encode()
    tag = tag_of(text)
    headers = {"Vary": "Cookie, Authorization", "ETag": tag}
    if status == 200 and has(request, tag):
        return unchanged(tag)
    return Response(text, status, headers, HTML)


def rendered(template: str, **shown: Any) -> str:
    """A template's text."""
    return _templates.get_template(template).render(shown)


def _refused(request: Request, answer: Response) -> Response:
    """A problem as a page. What a script has asked for is said on the page that is open, in its place for it: at the
    top, or where the part would have been that a page asks for by itself, so that nothing moves.
    """
    problem = Problem.model_validate_json(bytes(answer.body))
    is_part = bool(request.headers.get("hx-request"))
    in_place = is_part and request.headers.get("lab-place") == "own"
    template = "_refused.html" if is_part else "refused.html"
    own = None if is_part else getattr(request.state, "refused_on", None)
    kept: dict[str, Any] = own[1] if own else {}
    shown = page(
        request,
        own[0] if own else template,
        answer.status_code,
        **kept,
        problem=problem,
        in_place=in_place,
        is_read=request.method in ("GET", "HEAD"),
    )
    for name in KEPT_HEADERS:
        if name in answer.headers:
            shown.headers[name] = answer.headers[name]
    if in_place:
        shown.headers["HX-Reselect"] = "#refused"
    elif is_part:
        shown.headers.update(
            {"HX-Retarget": "#said", "HX-Reselect": "#said", "HX-Reswap": "outerHTML"}
        )
    return shown


def refused_on(request: Request, template: str, **shown: Any) -> None:
    """From here on a refusal is said on this page, whose template is given `problem`, and not on one of its own."""
    request.state.refused_on = template, shown


async def or_problem(request: Request, work: Awaitable[Result]) -> Result | Problem:
    """What comes of the work, or the problem that the API would answer with."""
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - the handlers know what is said of each
        return Problem.model_validate_json(bytes(answer_to(request, error).body))


def see_other(address: str) -> Response:
    """The way to another page, which is then read."""
    return Response(status_code=303, headers={"Location": address})


def and_then(step: Any, answer: Callable[[Any], Response]) -> Any:
    """The API's steps as they are, but for what is answered at their end."""
    if isinstance(step, passes.Read):
        reading = step.work
        return passes.Read(lambda session: and_then(reading(session), answer))
    if isinstance(step, passes.Write):
        writing = step.work
        return passes.Write(lambda session: and_then(writing(session), answer), step.undo)
    if isinstance(step, passes.Compute):
        computing = step.work
        return passes.Compute(lambda: and_then(computing(), answer), step.lane)
    return answer(step)


def form_of(body: bytes) -> dict[str, str]:
    """The fields of a form as browsers send it; of several with one name the last. Raises InvalidRequest for what is
    none.
    """
    return dict(fields_of(body))


def fields_of(body: bytes, most: int = MOST_FIELDS) -> list[tuple[str, str]]:
    """Names and values of a form in their order; raises InvalidRequest for what is none, or has more than `most`."""
    try:
        return parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=most
        )
    except ValueError as error:
        raise InvalidRequest(
            "the body is no form: send its fields as application/x-www-form-urlencoded"
        ) from error
