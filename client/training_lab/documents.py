"""What is sent: specs from objects, files and keyword fields."""

import codecs
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from training_lab.errors import Unusable
from training_lab.steps import IDEMPOTENCY_KEY, Request

Spec = Mapping[str, Any] | str | Path
"""An object, or the path of a JSON or YAML file that has one."""
LONG_PATIENCE = 30.0
"""Seconds more for what is worked out before it is answered: many cells, files that are taken over."""


def document_of(spec: Spec) -> dict[str, Any]:
    """The object that is meant; raises Unusable with what is wrong."""
    if isinstance(spec, Mapping):
        return dict(spec)
    path = Path(spec)
    found = read_document(path, "; the short form of a network is model=")
    if not isinstance(found, dict):
        glued = isinstance(found, str) and re.match(r"\w+:\S", found)
        hint = "; a blank stands after a colon: `epochs: 3`" if glued else ""
        raise Unusable(f"{path} holds no object, and a spec is one{hint}")
    return found


def read_document(path: Path, meant: str = "") -> Any:
    """What a JSON or YAML file holds, of another suffix by how it begins; raises Unusable, of what is no file with what
    else was `meant`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}{meant if path.suffix == '' else ''}") from error
    suffix = path.suffix.lower()
    is_json = suffix == ".json" or (
        suffix not in (".yaml", ".yml") and _text(path, content).lstrip()[:1] in ("{", "[", "")
    )
    return _json(path, content) if is_json else _yaml(path, content)


def body_of(
    spec: Spec | None, said: Mapping[str, Any], fields: Mapping[str, Any]
) -> dict[str, Any]:
    """The body of a submit: the spec, over it what was said (None was not said), then the keyword fields.
    `optimizer__learning_rate=0.1` is put in its place last, whatever stands there, as `set` has it.
    """
    body = document_of(spec) if spec is not None else {}
    body |= {name: value for name, value in said.items() if value is not None}
    body |= {name: value for name, value in fields.items() if "__" not in name}
    paths = {name.replace("__", "."): value for name, value in fields.items() if "__" in name}
    if paths:
        there = body.get("set", {})
        if not isinstance(there, Mapping):
            raise Unusable("'set' must be an object of paths and values")
        body["set"] = {**there, **paths}
    return body


def said(
    seeds: int | Sequence[int] | None,
    name: str | None,
    labels: Mapping[str, Any] | None,
    priority: int | None,
) -> dict[str, Any]:
    """What is said beside a spec."""
    return given(seeds=seeds, name=name, labels=labels, priority=priority)


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are given: None is not."""
    return {name: value for name, value in fields.items() if value is not None}


def study_body(
    recipe: str | None, spec: Spec | None, beside: dict[str, Any], fields: dict[str, Any]
) -> dict[str, Any]:
    """The body of a study but for what varies."""
    body = given(recipe=recipe, spec=None if spec is None else document_of(spec))
    return {**body, **beside, **fields}


def post(
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    key: str | None = None,
    method: str = "POST",
    **params: Any,
) -> Request:
    """A request with a JSON body; with a key the service does it once, however often it is sent."""
    return Request(
        method,
        path,
        params,
        b"" if body is None else encoded(body),
        {"Content-Type": "application/json", **({} if key is None else {IDEMPOTENCY_KEY: key})},
        patience=LONG_PATIENCE,
        changes_nothing="dry_run" in params,
    )


def encoded(body: Mapping[str, Any]) -> bytes:
    """The body as JSON; raises Unusable for what JSON has not."""
    try:
        return json.dumps(body, allow_nan=False, default=_plain).encode()
    except (TypeError, ValueError) as error:
        raise Unusable(f"this cannot be sent as JSON: {error}") from error


def by_path(value: Any, path: str = "") -> dict[str, Any]:
    """The fields of nested objects by dotted path."""
    if isinstance(value, Mapping) and value:
        return {
            inner: one
            for name, part in value.items()
            for inner, one in by_path(part, f"{path}.{name}" if path else str(name)).items()
        }
    return {path: value}


def package(name: str, what_for: str) -> Any:
    """A package that is loaded when it is asked for; raises Unusable with how to get it."""
    try:
        return import_module(name)
    except ImportError as error:
        distribution = name.partition(".")[0]
        raise Unusable(
            f"{what_for} needs {distribution}, which is not installed here: pip install {distribution}"
        ) from error


def _plain(value: Any) -> Any:
    """Numbers of NumPy and paths as JSON has them."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Sequence):
        return list(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {str(value)[:60]!r} is nothing that JSON has")


def _json(path: Path, content: bytes) -> Any:
    try:
        return json.loads(
            _text(path, content), object_pairs_hook=_once, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        where = f"at line {error.lineno}, column {error.colno}"
        raise Unusable(f"{path} is not JSON: {error.msg} {where}") from error
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{path} is not JSON: {error}") from error


def _text(path: Path, content: bytes) -> str:
    """In UTF-8, or as a mark at its beginning says, which editors of Windows write, or in UTF-16 without one; raises
    Unusable.
    """
    encoding = "utf-8-sig"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in content[:2]:
        encoding = "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unusable(
            f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8 in your editor"
        ) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _yaml(path: Path, content: bytes) -> Any:
    from training_lab.yaml_documents import YAMLFault, read_yaml

    try:
        return read_yaml(_text(path, content))
    except YAMLFault as error:
        raise Unusable(f"{path} is not YAML that can become JSON: {error}") from error


def apart(path: str, here: Any, there: Any) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """What differs between two values at a path: the values, or of lists of layers of one length each layer, or field
    of a layer.
    """
    if here == there:
        return
    within = path.endswith(("model.layers", "student.layers")) or ".layers." in path
    if within and isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        for number, layers in enumerate(zip(here, there, strict=True)):
            yield from apart(f"{path}.{number}", *layers)
    elif (
        within
        and isinstance(here, dict)
        and isinstance(there, dict)
        and here.keys() == there.keys()
    ):
        for name in here:
            yield from apart(f"{path}.{name}", here[name], there[name])
    else:
        yield path, (here, there)
