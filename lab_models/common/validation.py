"""From bytes to a checked spec, or to a list of errors that say where, what and what was probably meant."""

import difflib
import json
import math
import types
import typing
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

MAX_NESTING = 32
MAX_DIGITS = 4300
MOST_ERRORS = 50
LONGEST_NAME = 200

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with a document: `pointer` is a JSON Pointer (RFC 6901) into it."""

    pointer: str
    message: str
    hint: str | None = None


class NotJSON(ValueError):
    """The bytes are no JSON document that this service can keep."""


class InvalidDocument(ValueError):
    """The document is JSON but breaks its schema; `errors` names every place."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__(
            "; ".join(f"{error.pointer or 'the body'}: {error.message}" for error in errors)
        )
        self.errors = errors


def parse_json(body: bytes) -> Any:
    """Strict JSON: UTF-8, no NaN or Infinity, no key twice, no lone surrogates, no U+0000, at most 32 levels deep.

    Raises NotJSON with a sentence that names the fault.
    """
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
        raise NotJSON(f"the body is not UTF-8 (byte {error.start})") from error
    except UnicodeEncodeError as error:
        raise NotJSON("a string holds half of a surrogate pair, which is no character") from error
    except json.JSONDecodeError as error:
        raise NotJSON(f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise NotJSON(f"the document nests deeper than {MAX_NESTING} levels") from error
    except ValueError as error:
        raise NotJSON(str(error)) from error
    if _nesting(document) > MAX_NESTING:
        raise NotJSON(f"the document nests deeper than {MAX_NESTING} levels")
    if b"\\u0000" in body and _holds_nul(document):
        raise NotJSON("a string holds the character U+0000, which not every database can keep")
    return document


def validate(model: type[Model], document: Any) -> Model:
    """Check a parsed document against a Pydantic model; raises InvalidDocument with one FieldError per fault."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise InvalidDocument(explain(error, model, document)) from error


def explain(error: ValidationError, model: type[BaseModel], document: Any) -> list[FieldError]:
    """The first 50 of Pydantic's errors as pointers into the document the person wrote, with a did-you-mean where one
    is near.
    """
    faults = [dict(item) for item in error.errors(include_url=False)]
    # a list whose every item is wrong is not also too short
    real = [item for item in faults if item["type"] != "too_short" or not item["input"]]
    return [_explain_one(item, model, document) for item in real[:MOST_ERRORS]]


def did_you_mean(word: str, candidates: list[str]) -> str | None:
    """`did you mean 'depth'?` for the nearest candidate, else the list of what is allowed."""
    near = difflib.get_close_matches(word.lower(), candidates, n=1, cutoff=0.5)
    containing = [
        candidate for candidate in candidates if len(word) > 2 and word.lower() in candidate
    ]
    if near or len(containing) == 1:
        return f"did you mean '{(near or containing)[0]}'?"
    return "allowed: " + ", ".join(sorted(candidates)) if candidates else None


def pointer(parts: list[str | int]) -> str:
    """A JSON Pointer (RFC 6901); a name of more than 200 characters is cut."""
    return "".join(
        "/" + str(part)[:LONGEST_NAME].replace("~", "~0").replace("/", "~1") for part in parts
    )


def _explain_one(item: dict[str, Any], model: type[BaseModel], document: Any) -> FieldError:
    parts, owners = _walk(item["loc"], model, document)
    context = item.get("ctx") or {}
    message, hint = str(item["msg"]), None
    match item["type"]:
        case "extra_forbidden":
            message, hint = "unknown field", did_you_mean(str(parts[-1]), _fields(owners))
        case "literal_error" | "enum":
            message, hint = (
                f"must be {context['expected']}",
                _nearest_choice(item.get("input"), str(context["expected"])),
            )
        case "union_tag_invalid":
            if isinstance(_at(document, parts), dict):
                parts.append(str(context["discriminator"]).strip("'"))
            message, hint = (
                f"must be {_or(context['expected_tags'])}",
                _nearest_choice(context["tag"], str(context["expected_tags"])),
            )
        case "missing":
            message = "required field is missing"
        case "value_error":
            message, hint = str(context["error"]), getattr(context["error"], "hint", None)
        case "tuple_type":
            message = "must be a list"
        case "too_short" | "too_long":
            bound = "at least" if item["type"] == "too_short" else "at most"
            message = (
                f"must have {bound} {context.get('min_length', context.get('max_length'))} items, not"
                f" {context['actual_length']}"
            )
        case "model_type" | "model_attributes_type" | "dict_type":
            message = "must be an object"
        case _:
            message = message[:1].lower() + message[1:]
    return FieldError(pointer(parts), message, hint)


def _walk(
    loc: tuple[str | int, ...], model: type[BaseModel], document: Any
) -> tuple[list[str | int], list[type[BaseModel]]]:
    """Pydantic's location without the tags of its unions, and the models that the last name was looked up in."""
    parts: list[str | int] = []
    owners: list[type[BaseModel]] = [model]
    annotation: Any = model
    node = document
    for step in loc:
        models = _models_in(annotation)
        if isinstance(step, str) and len(models) > 1 and _is_tag(step, models):
            annotation = next(candidate for candidate in models if _is_tag(step, [candidate]))
            continue
        if not isinstance(node, dict | list):
            break  # the person wrote a bare name here: that is the place to point at
        parts.append(step)
        owners = models
        field = next(
            (
                candidate.model_fields[step]
                for candidate in models
                if isinstance(step, str) and step in candidate.model_fields
            ),
            None,
        )
        annotation = field.annotation if field is not None else None
        node = _child(node, step)
    return parts, owners


def _at(document: Any, parts: list[str | int]) -> Any:
    for part in parts:
        document = _child(document, part)
    return document


def _child(node: Any, step: str | int) -> Any:
    if isinstance(node, dict):
        return node.get(step) if isinstance(step, str) else None
    return node[step] if isinstance(step, int) and step < len(node) else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _models_in(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [model for member in typing.get_args(annotation) for model in _models_in(member)]
    return []


def _is_tag(step: str, models: list[type[BaseModel]]) -> bool:
    return len(models) > 0 and any(
        step in typing.get_args(model.model_fields[key].annotation)
        for model in models
        for key in ("name", "arch", "kind")
        if key in model.model_fields
    )


def _fields(owners: list[type[BaseModel]]) -> list[str]:
    return sorted({name for owner in owners for name in owner.model_fields})


def _nearest_choice(given: Any, expected: str) -> str | None:
    choices = [part.strip(" '\"") for part in expected.replace(" or ", ", ").split(",")]
    near = (
        difflib.get_close_matches(given.lower(), choices, n=1, cutoff=0.5)
        if isinstance(given, str)
        else []
    )
    return f"did you mean '{near[0]}'?" if near else None


def _or(listed: str) -> str:
    head, _, tail = str(listed).rpartition(", ")
    return f"{head} or {tail}" if head else tail


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
