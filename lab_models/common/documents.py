"""From bytes to a JSON document, or to a sentence that says what they are instead."""

import codecs
import json
import math
import re
from typing import Any, Final

MAX_NESTING = 32
MAX_DIGITS = 4300

MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""How a file begins whose editor has marked its encoding, as those of Windows do."""

OTHER_KINDS: Final = (
    (rb"\s*\Z", "it is empty; {} is the shortest that can be read"),
    (rb"\x1f\x8b", "it is compressed by gzip; send it as it is"),
    (
        rb"--[^\r\n]*\r?\n(?i:content-disposition)",
        "it is a form; send the file itself: curl -d @FILE URL",
    ),
    (
        rb"'",
        'it begins with a single quote, which cmd.exe on Windows passes on: write "{\\"epochs\\": 3}", or put it'
        " into a file: curl -d @FILE URL",
    ),
    (
        rb"\s*[\[{]?\s*(?:\xe2\x80[\x98-\x9f]|\xc2[\xab\xbb])",
        'it has typographic quotes, as word processors write them: {"model": "mlp"} needs straight ones',
    ),
    (
        rb"\s*\{\s*\\+\"",
        "it has backslashes before its quotes, which this shell passes on: leave them out between single quotes, or"
        " put it into a file: curl -d @FILE URL",
    ),
    (rb"\s*<", "it is XML or a web page"),
    (
        rb"\s*@?[^\s{}\[\]\"]{1,200}\.(?i:json|ya?ml|txt)\s*\Z",
        "it is a file's name: send the file itself with curl -d @FILE URL",
    ),
    (rb"[\w.\[\]%+-]+=[^{\"]*\Z", 'it is a form; send an object, such as {"epochs": 3}'),
    (
        rb"(?:---|#[^\n]*|\s)*+[A-Za-z_]\w*:(?:\s|\Z)",
        "it looks like YAML, and is to be JSON; `lab submit FILE.yaml` takes YAML",
    ),
    (rb"\s*(?:\{\s*['A-Za-z_]|\[\s*')", 'names and texts stand in double quotes: {"model": "mlp"}'),
)
"""What people send in place of JSON, by how it begins, and what they should do."""


WORDS: Final = {"True": "true", "False": "false", "None": "null"}
"""Python's words, and JSON's."""


class NotJSON(ValueError):
    """The bytes are no JSON document that this service can keep."""


def as_utf8(body: bytes) -> bytes:
    """The same text in UTF-8 without a mark, where a mark says in what it is, or where it is plainly UTF-16 without
    one; raises NotJSON where it is not what its mark says.
    """
    for mark, encoding in MARKS:
        if body.startswith(mark):
            try:
                return body.removeprefix(mark).decode(encoding).encode()
            except UnicodeError as error:
                raise NotJSON(f"its mark says {encoding}, and it is not that") from error
    if b"\0" in body[:2] and len(body) % 2 == 0:  # no JSON in UTF-8 has a null byte
        try:
            return body.decode("utf-16-be" if body[:1] == b"\0" else "utf-16-le").encode()
        except UnicodeError:
            pass
    return body


def parse_json(body: bytes) -> Any:
    """Strict JSON: UTF-8, or what its byte-order mark says; no NaN or Infinity, no key twice, no lone surrogates, no
    U+0000, at most 32 levels deep.

    Raises NotJSON with a sentence that names the fault.
    """
    body = as_utf8(body)
    try:
        document = json.loads(
            body.decode("utf-8"),
            parse_int=_bounded_int,
            parse_float=_finite_float,
            parse_constant=_refuse_constant,
            object_pairs_hook=_refuse_doubles,
        )
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise NotJSON(
            _other_kind(body)
            or f"the body is not UTF-8 (byte {error.start}); save the file as UTF-8, or write letters beyond ASCII as"
            " \\u00fc"
        ) from error
    except UnicodeEncodeError as error:
        raise NotJSON("a string holds half of a surrogate pair, which is no character") from error
    except json.JSONDecodeError as error:
        found = f"{error.msg} at line {error.lineno}, column {error.colno}"
        meant = _other_kind(body) or _slip(error)
        raise NotJSON("; ".join(filter(None, (found, meant)))) from error
    except RecursionError as error:
        raise NotJSON(f"the document nests deeper than {MAX_NESTING} levels") from error
    except ValueError as error:
        raise NotJSON(str(error)) from error
    if _nesting(document) > MAX_NESTING:
        raise NotJSON(f"the document nests deeper than {MAX_NESTING} levels")
    if b"\\u0000" in body and _holds_nul(document):
        raise NotJSON("a string holds the character U+0000, which not every database can keep")
    return document


def _other_kind(body: bytes) -> str | None:
    return next((what for kind, what in OTHER_KINDS if re.match(kind, body[:1000])), None)


def _slip(error: json.JSONDecodeError) -> str | None:
    """What was meant where the parser stopped, as Python, JavaScript or YAML would have it."""
    rest, before = error.doc[error.pos : error.pos + 10], error.doc[: error.pos].rstrip()
    if error.msg == "Extra data":
        return "it goes on after its end: one object is one request"
    if rest.startswith(("//", "/*", "#")):
        return "JSON has no comments"
    if (before.endswith(",") and rest.startswith(("}", "]"))) or error.msg.startswith(
        "Illegal trail"
    ):
        return "take away the comma before the closing bracket"
    for word, meant in WORDS.items():
        if rest.startswith(word):
            return f"{word} is written {meant}"
    return None


def _nesting(document: Any) -> int:
    depth, level = 0, [document]
    while level and depth <= MAX_NESTING:
        depth += 1
        level = [
            child
            for node in level
            for child in (
                node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
            )
        ]
    return depth


def _holds_nul(document: Any) -> bool:
    """Whether a string, or the name of a field, holds U+0000."""
    rest = [document]
    while rest:
        node = rest.pop()
        if isinstance(node, str) and "\0" in node:
            return True
        rest += (
            [*node.keys(), *node.values()]
            if isinstance(node, dict)
            else node
            if isinstance(node, list)
            else []
        )
    return False


def _bounded_int(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    return int(digits)


def _finite_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _refuse_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        double = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {double!r} stands twice in one object")
    return document
