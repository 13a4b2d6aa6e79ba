"""Markdown as HTML for pages: headings that have addresses, tables in boxes that scroll, code that can be copied.

The text is read by markdown-it-py, which follows CommonMark; tables are GitHub's. No markup of the text itself reaches
a page: a comment is left out, anything else is shown as it is written. No style stands in an attribute, which the
pages' policy forbids.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token
from markupsafe import Markup

COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
TO_COPY: Final = frozenset({"bash", "sh", "shell", "python", "json", "yaml", "ini", "nginx"})
"""Languages of blocks that somebody takes along; what a command prints is none."""


@dataclass(frozen=True)
class Target:
    """Where a link leads, or an image lies, and how large that is in pixels."""

    address: str
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Section:
    """A heading with its level, 1 to 6, its words and its address within the page, as GitHub makes it."""

    level: int
    text: str
    anchor: str


@dataclass(frozen=True)
class Rendered:
    """A text as HTML."""

    html: Markup
    headings: tuple[Section, ...]

    @property
    def title(self) -> str:
        """The first heading's words."""
        return self.headings[0].text if self.headings else ""


def as_html(text: str, find: Callable[[str], Target | None]) -> Rendered:
    """The text as HTML. `find` says where the target of a link or image is; of a link whose target it does not know the
    words stay.
    """
    tokens = _without_empty_heads(_parser.parse(text))
    headings = _name_headings(tokens)
    for token in tokens:
        if token.children:
            _lead(token.children, find)
    html = _parser.renderer.render(tokens, _parser.options, {})
    return Rendered(Markup(html), headings)  # noqa: S704 - all of the text is escaped


def anchor_of(words: str) -> str:
    """What GitHub calls a heading in an address."""
    return re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")


def _name_headings(tokens: Sequence[Token]) -> tuple[Section, ...]:
    """Give each heading its id; the second of a name gets -1, and so on."""
    seen: dict[str, int] = {}
    found = []
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open":
            continue
        words = _words(inline)
        anchor = anchor_of(words)
        count = seen.get(anchor, 0)
        seen[anchor] = count + 1
        anchor = f"{anchor}-{count}" if count else anchor
        opening.attrSet("id", anchor)
        found.append(Section(int(opening.tag[1]), words, anchor))
    return tuple(found)


def _words(inline: Token) -> str:
    """What is read of a line, without its marks."""
    kept = {"text", "code_inline"}
    return "".join(child.content for child in inline.children or () if child.type in kept)


def _lead(children: Sequence[Token], find: Callable[[str], Target | None]) -> None:
    """Have links and images lead where their targets are; a link to what is not there becomes its words alone."""
    is_dead = False
    for token in children:
        match token.type:
            case "link_open":
                place = find(str(token.attrs["href"]))
                is_dead = place is None
                if place is None:
                    token.tag, token.attrs = "span", {}
                else:
                    token.attrs["href"] = place.address
            case "link_close" if is_dead:
                token.tag = "span"
            case "image":
                place = find(str(token.attrs["src"]))
                token.attrs["src"] = place.address if place else ""
                token.attrs["loading"] = "lazy"
                if place and place.size:
                    token.attrs["width"], token.attrs["height"] = place.size
            case _:
                pass


def _without_empty_heads(tokens: Sequence[Token]) -> list[Token]:
    """A table whose head says nothing has none."""
    kept: list[Token] = []
    begin = 0
    for token in tokens:
        kept.append(token)
        if token.type == "thead_open":
            begin = len(kept) - 1
        if token.type == "thead_close" and not any(one.content for one in kept[begin:]):
            del kept[begin:]
    return kept


def _cell(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    """A cell, whose side is a class of the pages."""
    token = tokens[index]
    side = ' class="right"' if "right" in str(token.attrs.get("style", "")) else ""
    return f"<{token.tag}{side}>"


def _code(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    """A block of code, with a button where somebody takes it along."""
    token = tokens[index]
    language = token.info.split()[0] if token.info.strip() else ""
    copied = " data-copy" if language in TO_COPY else ""
    return (
        f'<div class="code"><pre tabindex="0"{copied}><code>{escapeHtml(token.content)}</code></pre>'
        "</div>\n"
    )


def _markup(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    """Markup as it is written; comments are for those who write."""
    return escapeHtml(COMMENT.sub("", tokens[index].content).strip())


def _made() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table")
    rules: dict[str, Callable[..., str]] = {
        "table_open": lambda *_: '<div class="scroll" tabindex="0"><table>\n',
        "table_close": lambda *_: "</table></div>\n",
        "th_open": _cell,
        "td_open": _cell,
        "fence": _code,
        "code_block": _code,
        "html_block": _markup,
        "html_inline": _markup,
    }
    for name, rule in rules.items():
        parser.add_render_rule(name, rule)
    return parser


_parser: Final = _made()
