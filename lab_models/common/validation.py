"""From a document to a checked spec, or to a list of errors that say where, what and what was probably meant."""

import difflib
import math
import typing
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from lab_models.common.suggestions import TAGS, models_in, suggestion

MOST_ERRORS = 50
LONGEST_NAME = 200

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with a document: `pointer` is a JSON Pointer (RFC 6901) into it."""

    pointer: str
    message: str
    hint: str | None = None


class InvalidDocument(ValueError):
    """The document is JSON but breaks its schema; `errors` names every place."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__(
            "; ".join(f"{error.pointer or 'the body'}: {error.message}" for error in errors)
        )
        self.errors = errors


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


TAG_OF_LAYERS: Final = "layer:"
"""How the tags of a network's layers begin, which are no fields."""
VALUES: Final = {"gpu": "cuda"}
"""What is chosen from a list by other libraries' words; `gpu` is nearer to `cpu` than to what it means."""
PATTERNS: Final = {
    "^[A-Za-z0-9_.-]+$": "must be of A to Z, a to z, 0-9, '_', '.' and '-', without a blank",
}
"""In words what a text has to look like."""
TRUTHS: Final = dict.fromkeys(("yes", "on", "y"), "true") | dict.fromkeys(
    ("no", "off", "n"), "false"
)
"""What YAML 1.1 and people take for truths."""
CLOSE: Final = 0.7
"""How near a field's slip is, by `difflib`'s ratio: `epohcs` has 0.83, `steps` beside `seeds` 0.6."""


def did_you_mean(word: str, candidates: list[str], close: float = 0.5) -> str | None:
    """`did you mean 'depth'?` for the nearest candidate, else the list of what is allowed."""
    near = difflib.get_close_matches(word.lower(), candidates, n=1, cutoff=close)
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
            message, hint = "unknown field", _meant(parts, model, owners)
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
            message, hint = "must be a list", _listed(item.get("input"), parts)
        case "string_pattern_mismatch" if context.get("pattern") in PATTERNS:
            message = PATTERNS[str(context["pattern"])]
        case "too_short" | "too_long":
            bound = "at least" if item["type"] == "too_short" else "at most"
            message = (
                f"must have {bound} {context.get('min_length', context.get('max_length'))} items, not"
                f" {context['actual_length']}"
            )
        case "model_type" | "model_attributes_type" | "dict_type":
            message = "must be an object"
            if not parts and isinstance(item.get("input"), list):
                hint = "one object is one request: send each alone"
        case "int_type" | "float_type" | "bool_type":
            message = message[:1].lower() + message[1:]
            hint = _unquoted(item.get("input"), str(item["type"]))
        case "string_type":
            message, hint = "input should be a valid string", _quoted(item.get("input"))
        case _:
            message = message[:1].lower() + message[1:]
    return FieldError(pointer(parts), message, hint)


def _listed(given: Any, parts: list[str | int]) -> str | None:
    """What was meant by one number, or by numbers in quotes, in the place of a list; seeds are also counted."""
    texts = [part.strip() for part in given.split(",")] if isinstance(given, str) else [given]
    if isinstance(given, bool) or not all(map(_is_number, texts)):
        return None
    if parts and parts[-1] == "seeds" and len(texts) == 1:
        return f"write {float(texts[0]):g}" + (" without quotes" if isinstance(given, str) else "")
    return f"write [{', '.join(f'{float(text):g}' for text in texts)[:100]}]"


def _quoted(given: Any) -> str | None:
    """What was meant by something else in a text's place."""
    if given is None:
        return "null is no text: leave it out, or write a text in quotes"
    return f'write "{given}"' if isinstance(given, int | float) else None


def _is_number(given: Any) -> bool:
    try:
        return math.isfinite(float(given))
    except (TypeError, ValueError, OverflowError):
        return False


def _unquoted(given: Any, kind: str) -> str | None:
    """What was meant by a text in a number's place, or by 3.0 in the place of 3."""
    if isinstance(given, float) and given.is_integer() and kind == "int_type":
        return f"write {given:.0f}"
    if not isinstance(given, str):
        return None
    shown = given.strip()[:40]
    if kind == "bool_type":
        if shown.lower() in ("true", "false"):
            return f"remove the quotes: {shown.lower()}"
        meant = TRUTHS.get(shown.lower())
        return None if meant is None else f"write {meant}"
    return f"remove the quotes: {shown.replace('_', '')}" if _is_number(shown) else None


def _walk(
    loc: tuple[str | int, ...], model: type[BaseModel], document: Any
) -> tuple[list[str | int], list[type[BaseModel]]]:
    """Pydantic's location without the tags of its unions, and the models that the last name was looked up in."""
    parts: list[str | int] = []
    owners: list[type[BaseModel]] = [model]
    annotation: Any = model
    node = document
    for step in loc:
        if isinstance(step, str) and step.startswith(TAG_OF_LAYERS):
            continue
        models = models_in(annotation)
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


def _is_tag(step: str, models: list[type[BaseModel]]) -> bool:
    return len(models) > 0 and any(
        step in typing.get_args(model.model_fields[key].annotation)
        for model in models
        for key in TAGS
        if key in model.model_fields
    )


def _fields(owners: list[type[BaseModel]]) -> list[str]:
    return sorted({name for owner in owners for name in owner.model_fields})


def _meant(
    parts: list[str | int], model: type[BaseModel], owners: list[type[BaseModel]]
) -> str | None:
    """What an unknown field may have been: another name for one, one of another place, one with a slip."""
    *here, word = map(str, parts)
    return suggestion(word, here, model, owners) or did_you_mean(word, _fields(owners), CLOSE)


def _nearest_choice(given: Any, expected: str) -> str | None:
    choices = [part.strip(" '\"") for part in expected.replace(" or ", ", ").split(",")]
    if not isinstance(given, str):
        return None
    meant = VALUES.get(given.lower())
    if meant not in choices:
        meant = next(iter(difflib.get_close_matches(given.lower(), choices, n=1, cutoff=0.5)), None)
    return None if meant is None else f"did you mean '{meant}'?"


def _or(listed: str) -> str:
    head, _, tail = str(listed).rpartition(", ")
    return f"{head} or {tail}" if head else tail
