"""What people write in place of a spec's fields and of JSON, and what they are told."""

from typing import Any

import pytest

from lab_models.common.documents import NotJSON, parse_json
from lab_models.common.validation import InvalidDocument, validate
from lab_models.specs import ExperimentRequest


def hint_of(document: Any) -> str:
    with pytest.raises(InvalidDocument) as caught:
        validate(ExperimentRequest, document)
    (error,) = caught.value.errors
    return error.hint or ""


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("weight_decay", "did you mean 'optimizer.weight_decay'?"),
        ("lr", "did you mean 'optimizer.learning_rate'?"),
        ("momentum", "did you mean 'optimizer.momentum' (of 'sgd' or 'rmsprop')?"),
        ("architecture", "did you mean 'model'?"),
        ("arch", "did you mean 'model.arch'?"),
        ("hidden_sizes", "did you mean 'model.hidden' (of 'mlp' or 'vgg')?"),
        ("tags", "did you mean 'labels'?"),
        ("augmentation", "did you mean 'dataset.augmentation'?"),
        (
            "patience",
            "did you mean 'early_stopping.patience' or 'schedule.patience' (of 'plateau')?",
        ),
        (
            "early_stopping_patience",
            "did you mean 'early_stopping.patience' or 'schedule.patience' (of 'plateau')?",
        ),
        ("val_split", "did you mean 'dataset.val_fraction'?"),
        ("validation_split", "did you mean 'dataset.val_fraction'?"),
        ("gpu", "did you mean 'device'?"),
        ("max_grad_norm", "did you mean 'gradient_clip'?"),
        ("notes", "there is no such field: notes are written once it is there: PATCH"),
        ("steps", "there is no such field: training is counted in 'epochs'"),
        ("shuffle", "there is no such field: train is shuffled anew in each epoch"),
        ("step_size", "there is no such field: a step's rate is that of a 'schedule'"),
        ("input_size", "there is no such field: the images"),
        ("num_classes", "there is no such field: the images"),
        ("loss_fn", "there is no such field: the loss is cross-entropy"),
        ("teacher", 'there is no such field: a student and its teacher are of "kind": "distill"'),
        ("pretrained", "there is no such field: trained or published weights"),
        ("early_stop", "did you mean 'early_stopping'?"),
        ("dataset_name", "did you mean 'dataset'?"),
        ("frobnicate", "allowed: "),
        ("shoes", "allowed: "),
    ],
)
def test_a_field_of_another_place_or_library_is_pointed_to_and_no_stranger(
    word: str, hint: str
) -> None:
    assert hint_of({word: 1}).startswith(hint)


def test_what_another_kind_has_is_told_to_none_that_has_it() -> None:
    with pytest.raises(InvalidDocument) as caught:
        validate(ExperimentRequest, {"optimizer": {"name": "adam", "alpha": 1}})
    assert "it belongs to 'rmsprop'" in (caught.value.errors[0].hint or "")


@pytest.mark.parametrize(
    ("document", "hint"),
    [
        ({"epochs": "3"}, "remove the quotes: 3"),
        ({"epochs": "1_000"}, "remove the quotes: 1000"),
        ({"epochs": 3.0}, "write 3"),
        ({"seeds": "3"}, "write 3 without quotes"),
        ({"seeds": 3.0}, "write 3"),
        ({"seeds": "1, 2,3"}, "write [1, 2, 3]"),
        ({"seeds": "all"}, ""),
        ({"seeds": True}, ""),
        ({"model": {"hidden": 64}}, "write [64]"),
        ({"model": {"hidden": "64,32"}}, "write [64, 32]"),
        ({"dataset": {"name": "digits", "stratified": "true"}}, "remove the quotes: true"),
        ({"dataset": {"name": "digits", "stratified": "yes"}}, "write true"),
        ({"dataset": {"name": "digits", "stratified": "Off"}}, "write false"),
        ({"dataset": {"name": "digits", "stratified": "maybe"}}, ""),
        ({"name": 3}, 'write "3"'),
        ({"labels": {"week": None}}, "null is no text: leave it out, or write a text in quotes"),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_told_how_it_is_written(document: Any, hint: str) -> None:
    assert hint_of(document) == hint


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{\u201cepochs\u201d: 1}".encode(), "typographic quotes"),
        (b'{\\"epochs\\": 1}', "backslashes before its quotes"),
        (b'{"epochs": 1,}', "take away the comma before the closing bracket"),
        (b'{"model": {"hidden": [64, 32, ]}}', "take away the comma before the closing bracket"),
        (b'{"epochs": 1} // note', "it goes on after its end"),
        (b'{"epochs": 1, // note\n}', "JSON has no comments"),
        (b'{"epochs": 1 # note\n}', "JSON has no comments"),
        (b'{"a": True}', "True is written true"),
        (b'{"a": [None]}', "None is written null"),
        (b'{"epochs": 1}{"epochs": 2}', "one object is one request"),
        (b"<spec/>", "it is XML or a web page"),
        (b"spec.json", "it is a file's name: send the file itself with curl -d @FILE URL"),
        (b"experiments/spec.yaml\r\n", "it is a file's name"),
        (b'{"name": "M\xfcller"}', "not UTF-8 (byte 11); save the file as UTF-8"),
    ],
    ids=repr,
)
def test_what_is_nearly_json_is_told_what_to_change(body: bytes, said: str) -> None:
    with pytest.raises(NotJSON) as caught:
        parse_json(body)
    assert said in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_read(encoding: str) -> None:
    assert parse_json('{"name": "Größe 😀"}\n'.encode(encoding)) == {"name": "Größe 😀"}
