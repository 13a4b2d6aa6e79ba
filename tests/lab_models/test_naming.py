"""Names that people give: any script, and nothing that is not seen."""

from typing import Any

import pytest

from lab_models.common.naming import UnshowableName, shown
from lab_models.common.validation import InvalidDocument
from lab_models.specs import read_request
from lab_models.studies.designing import design_of
from lab_models.studies.request import read_study_request

GOOD = [
    "small MLP",
    "",
    "Größe",
    "模型",
    "\u0645\u062f\u0644\u200c\u0647\u0627",
    "\U0001f469\u200d\U0001f52c",
    "no\u00a0break",
    "a|b <c>",
    "e\u0301",
]
BAD = {
    "\u202egnp.exe": "U+202E (RIGHT-TO-LEFT OVERRIDE)",
    "a\u2066b\u2069": "U+2066 (LEFT-TO-RIGHT ISOLATE)",
    "a\u200fb": "U+200F (RIGHT-TO-LEFT MARK)",
    "zero\u200bwidth": "U+200B (ZERO WIDTH SPACE)",
    "\ufeffmark": "U+FEFF (ZERO WIDTH NO-BREAK SPACE)",
    "two\nlines": "U+000A (a control character)",
    "\x1b[31mred": "U+001B (a control character)",
    "tab\tbed": "U+0009 (a control character)",
    "c1\x85": "U+0085 (a control character)",
    "line\u2028end": "U+2028 (LINE SEPARATOR)",
    "\U000e0041": "U+E0041 (TAG LATIN CAPITAL LETTER A)",
    "no\uffff": "U+FFFF (no character)",
}


@pytest.mark.parametrize("name", GOOD)
def test_every_script_can_be_written(name: str) -> None:
    assert shown(name) == name


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_seen_is_named_and_refused(name: str) -> None:
    with pytest.raises(UnshowableName) as raised:
        shown(name)
    assert str(raised.value).startswith(f"holds {BAD[name]}, which is not shown")


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"name": "{}"}, "/name"),
        ({"labels": {"a": "b", "c": "{}"}}, "/labels/c"),
        ({"kind": "distill", "teacher": {"spec": {}}, "name": "{}"}, "/name"),
        ({"kind": "transfer", "source": {"pretrained": "resnet18"}, "name": "{}"}, "/name"),
    ],
)
def test_an_experiment_is_named_by_what_is_seen(document: dict[str, Any], place: str) -> None:
    assert read_request(_filled(document, "fine")).kind
    with pytest.raises(InvalidDocument) as raised:
        read_request(_filled(document, "\u202egnp.exe"))
    assert [(error.pointer, error.message[:12]) for error in raised.value.errors] == [
        (place, "holds U+202E")
    ]


CELLS = [{"name": "a", "epochs": 1}, {"name": "b", "epochs": 2}]


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"specs": CELLS, "name": "{}"}, "/name"),
        ({"specs": CELLS, "labels": {"k": "{}"}}, "/labels/k"),
        ({"specs": [*CELLS, {"name": "{}"}]}, "/specs/2/name"),
        (
            {
                "specs": CELLS,
                "contrasts": [
                    {"treatment": "b", "control": "a", "factor": "epochs", "title": "{}"}
                ],
            },
            "/contrasts/0/title",
        ),
        (
            {
                "specs": CELLS,
                "contrasts": [
                    {"treatment": "b", "control": "a", "factor": "epochs", "family": "{}"}
                ],
            },
            "/contrasts/0/family",
        ),
    ],
)
def test_a_study_its_cells_and_contrasts_are_named_by_what_is_seen(
    document: dict[str, Any], place: str
) -> None:
    assert design_of(read_study_request(_filled(document, "fine"))).cells
    with pytest.raises(InvalidDocument) as raised:
        design_of(read_study_request(_filled(document, "two\nlines")))
    assert [(error.pointer, error.message[:12]) for error in raised.value.errors] == [
        (place, "holds U+000A")
    ]


def _filled(node: Any, name: str) -> Any:
    match node:
        case dict():
            return {key: _filled(value, name) for key, value in node.items()}
        case list():
            return [_filled(value, name) for value in node]
        case _:
            return name if node == "{}" else node
