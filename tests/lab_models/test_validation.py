"""From bytes to a spec or to errors: what is no JSON, and where exactly each fault of a document is said to lie."""

import gzip
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_models.common.documents import MAX_NESTING, NotJSON, parse_json
from lab_models.common.suggestions import SEEDS
from lab_models.common.validation import (
    FieldError,
    InvalidDocument,
    did_you_mean,
    pointer,
    validate,
)
from lab_models.specs import PRESETS, ExperimentRequest
from tests.lab_models.conftest import EXAMPLES, spec_documents

ARCHES = "'mlp', 'cnn', 'henet', 'resnet18', 'vgg' or 'layers'"
OPTIMIZERS = "'sgd', 'adam', 'adamw' or 'rmsprop'"
SCHEDULES = "'constant', 'multi_step', 'cosine', 'one_cycle' or 'plateau'"


def errors_of(document: Any) -> list[FieldError]:
    with pytest.raises(InvalidDocument) as caught:
        validate(ExperimentRequest, document)
    return caught.value.errors


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "Expecting value at line 1, column 1"),
        (b"{", "line 1, column 2"),
        (b"{'epochs': 1}", "double quotes"),
        (b'{"epochs": 1,}', "line 1"),
        (b'{"epochs": 1} x', "Extra data"),
        (b"[1, NaN]", "NaN is no JSON number"),
        (b"Infinity", "Infinity is no JSON number"),
        (b'{"a": -Infinity}', "-Infinity is no JSON number"),
        (b"1e999", "1e999"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b'{"b": {"a": 1, "c": 0, "a": 1}}', "the key 'a' stands twice"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\udc00": 1}', "surrogate"),
        (b'{"a": "\xff"}', "not UTF-8 (byte 7)"),
        ('"é"'.encode("latin-1"), "not UTF-8"),
        ("{".encode("utf-16-le"), "line 1, column 2"),
        (b"{\0\xd8\xd8", "not UTF-8 (byte 2)"),
        ("{".encode("utf-16"), "line 1, column 2"),
        (b"\xff\xfe{", "its mark says utf-16-le, and it is not that"),
        (b"", "it is empty; {} is"),
        (b" \r\n", "it is empty"),
        (b"'{\"epochs\": 3}'", "begins with a single quote, which cmd.exe"),
        (b"epochs=3", 'it is a form; send an object, such as {"epochs": 3}'),
        (b"--x1\r\nContent-Disposition: form-data; name=f", "it is a form; send the file itself"),
        (gzip.compress(b"{}", mtime=0), "compressed by gzip"),
        (b"model: mlp\n", "looks like YAML"),
        (b"---\n# two\n\nepochs: 3", "looks like YAML"),
        (b"{model: mlp}", "double quotes"),
        (b"{'model': 'mlp'}", "double quotes"),
        (b"['mlp']", "double quotes"),
        (b"1" * 5000, "digits"),
        (b"[" * (MAX_NESTING + 1) + b"]" * (MAX_NESTING + 1), "deeper than 32 levels"),
        (b'{"a":' * (MAX_NESTING + 1) + b"1" + b"}" * (MAX_NESTING + 1), "deeper than 32 levels"),
        (b"[" * 100_000 + b"]" * 100_000, "deeper than 32 levels"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_strict_json_is_refused_with_its_fault(body: bytes, fault: str) -> None:
    with pytest.raises(NotJSON) as caught:
        parse_json(body)
    assert fault in str(caught.value)


def test_errors_about_long_numbers_do_not_speak_of_python() -> None:
    with pytest.raises(NotJSON) as caught:
        parse_json(b'{"epochs": ' + b"9" * 5000 + b"}")
    assert "sys." not in str(caught.value)


def test_json_at_the_limits_is_taken() -> None:
    deepest = b"[" * MAX_NESTING + b"]" * MAX_NESTING
    assert json.dumps(parse_json(deepest)).encode() == deepest
    assert parse_json('{"ключ": "\\ud83d\\ude00 é"}'.encode()) == {"ключ": "😀 é"}
    assert parse_json(b"9" * 4000) == int("9" * 4000)
    assert parse_json(b" [1e-999, -0.5e3, null, true] ") == [0.0, -500.0, None, True]


@EXAMPLES
@given(
    st.binary(max_size=40)
    | st.text(alphabet='{}[]:,"0123456789.eE+-\\ntu NaIfiy\ud800', max_size=40).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )
)
def test_any_bytes_are_json_or_not_json(body: bytes) -> None:
    try:
        document = parse_json(body)
    except NotJSON:
        return
    json.dumps(document, allow_nan=False, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize(
    ("document", "place", "message", "hint"),
    [
        (
            {"device": "GPU"},
            "/device",
            "must be 'auto', 'any', 'cpu' or 'cuda'",
            "did you mean 'cuda'?",
        ),
        ({"epoch": 3}, "/epoch", "unknown field", "did you mean 'epochs'?"),
        ({"lr": 0.1}, "/lr", "unknown field", "did you mean 'optimizer.learning_rate'?"),
        (
            {"learning_rate": 0.1},
            "/learning_rate",
            "unknown field",
            "did you mean 'optimizer.learning_rate'?",
        ),
        ({"model": {"layers": 4}}, "/model/layers", "unknown field", "did you mean 'depth'?"),
        (
            {"layers": 4},
            "/layers",
            "unknown field",
            "did you mean 'model.depth' (of 'mlp' or 'henet')?",
        ),
        (
            {"model": {"hidden_size": 64}},
            "/model/hidden_size",
            "unknown field",
            "did you mean 'width'?",
        ),
        (
            {"units": 64},
            "/units",
            "unknown field",
            "did you mean 'model.width' (of 'mlp', 'cnn' or 'henet')?",
        ),
        ({"num_epochs": 3}, "/num_epochs", "unknown field", "did you mean 'epochs'?"),
        ({"n_epochs": 3}, "/n_epochs", "unknown field", "did you mean 'epochs'?"),
        ({"batchsize": 3}, "/batchsize", "unknown field", "did you mean 'batch_size'?"),
        ({"BS": 3}, "/BS", "unknown field", "did you mean 'batch_size'?"),
        ({"seed": 3}, "/seed", "unknown field", SEEDS),
        (
            {"wd": 0.1},
            "/wd",
            "unknown field",
            "did you mean 'optimizer.weight_decay'?",
        ),
        (
            {"momentum": 0.9},
            "/momentum",
            "unknown field",
            "did you mean 'optimizer.momentum' (of 'sgd' or 'rmsprop')?",
        ),
        (
            {"optimizer": {"name": "adam", "epochs": 3}},
            "/optimizer/epochs",
            "unknown field",
            "did you mean 'epochs' at the top level?",
        ),
        (
            {"model": {"activation": "gelu"}},
            "/model/activation",
            "unknown field",
            "there is no such field: the lab's networks use ReLU, and a list of layers says its own",
        ),
        ({"Epochs": 3}, "/Epochs", "unknown field", "did you mean 'epochs'?"),
        (
            {"dataset": {"val_fracton": 0.1}},
            "/dataset/val_fracton",
            "unknown field",
            "did you mean 'val_fraction'?",
        ),
        (
            {"dataset": {"q": 0}},
            "/dataset/q",
            "unknown field",
            "allowed: augmentation, name, split_seed, stratified, train_limit, val, val_fraction",
        ),
        ({"model": {"widht": 3}}, "/model/widht", "unknown field", "did you mean 'width'?"),
        ({"model": {"mlp": 3}}, "/model/mlp", "unknown field", None),
        (
            {"optimizer": {"name": "sgd", "momentun": 0.9}},
            "/optimizer/momentun",
            "unknown field",
            "did you mean 'momentum'?",
        ),
        (
            {"optimizer": {"name": "adam", "momentum": 0.9}},
            "/optimizer/momentum",
            "unknown field",
            "it belongs to 'sgd' or 'rmsprop'; allowed: learning_rate, name, weight_decay",
        ),
        (
            {"optimizer": {"lr": 0.9}},
            "/optimizer/lr",
            "unknown field",
            "did you mean 'learning_rate'?",
        ),
        ({"optimizer": {"name": "sgd", "sgd": 1}}, "/optimizer/sgd", "unknown field", None),
        ({"a/b~c": 1}, "/a~1b~0c", "unknown field", None),
        ({"": 1}, "/", "unknown field", None),
        ({"dataset": {"name": 7}}, "/dataset/name", "input should be a valid string", 'write "7"'),
        (
            {"dataset": {"augmentation": "crop-flip"}},
            "/dataset/augmentation",
            "there is no augmentation 'crop-flip'",
            "did you mean 'crop_flip'?",
        ),
        (
            {"dataset": {"augmentation": {"flip": True}}},
            "/dataset/augmentation/flip",
            "unknown field",
            "did you mean 'horizontal_flip'?",
        ),
        ({"model": "mpl"}, "/model", "there is no network 'mpl'", "did you mean 'mlp'?"),
        ({"model": "techer"}, "/model", "there is no network 'techer'", "did you mean 'teacher'?"),
        (
            {"model": {"preset": "studnet"}},
            "/model",
            "there is no network 'studnet'",
            "did you mean 'student'?",
        ),
        ({"model": {"arch": "mpl"}}, "/model/arch", f"must be {ARCHES}", "did you mean 'mlp'?"),
        (
            {"model": {"arch": "cnn", "blocks": 3}},
            "/model/blocks",
            "unknown field",
            "did you mean 'blocks_per_stage'?",
        ),
        (
            {"model": {"preset": "resnet20", "depth": 21}},
            "/model",
            "'depth' must be 6n + 2, such as 20 or 26, not 21",
            None,
        ),
        (
            {"optimizer": "adm"},
            "/optimizer",
            f"must be {OPTIMIZERS}",
            "did you mean 'adam'?",
        ),
        (
            {"optimizer": "rmsporp"},
            "/optimizer",
            f"must be {OPTIMIZERS}",
            "did you mean 'rmsprop'?",
        ),
        ({"schedule": "constnt"}, "/schedule", f"must be {SCHEDULES}", "did you mean 'constant'?"),
        (
            {"schedule": {"name": "cosine", "milestones": [3]}},
            "/schedule/milestones",
            "unknown field",
            "it belongs to 'multi_step'; allowed: final_fraction, name, update, warmup_epochs",
        ),
        (
            {"schedule": {"name": "multi_step", "milestones": [3, 2]}},
            "/schedule",
            "'milestones' must rise, not [3, 2]",
            None,
        ),
        (
            {"schedule": {"warmup_epochs": 11.0}},
            "",
            "'warmup_epochs' 11 is more than the 10 'epochs'",
            None,
        ),
        (
            {"early_stopping": {"patience": None}},
            "/early_stopping",
            "give 'patience', 'overfit_delta' or both; for no early stopping write null",
            None,
        ),
        (
            {"probes": ["gradients"]},
            "/probes/0",
            "must be 'gradient_flow'",
            "did you mean 'gradient_flow'?",
        ),
        (
            {"probes": ["gradient_flow", "gradient_flow"]},
            "/probes",
            "the same is named twice",
            None,
        ),
        (
            {"model": {"norm": "bach"}},
            "/model/norm",
            "must be 'none', 'batch' or 'layer'",
            "did you mean 'batch'?",
        ),
        (
            {"model": {"dropout_at": "LAST_HIDDEN"}},
            "/model/dropout_at",
            "must be 'every_hidden' or 'last_hidden'",
            "did you mean 'last_hidden'?",
        ),
        ({"kind": "trian"}, "/kind", "must be 'train'", "did you mean 'train'?"),
        (
            {"optimizer": {"name": "sgd", "learning_rate": -1}},
            "/optimizer/learning_rate",
            "input should be greater than 0",
            None,
        ),
        (
            {"optimizer": {"learning_rate": "0.1"}},
            "/optimizer/learning_rate",
            "input should be a valid number",
            "remove the quotes: 0.1",
        ),
        (
            {"optimizer": {"name": "sgd", "nesterov": True}},
            "/optimizer",
            "'nesterov' needs 'momentum' above 0",
            None,
        ),
        (
            {"optimizer": {"name": "rmsprop", "alpha": 1}},
            "/optimizer/alpha",
            "input should be less than 1",
            None,
        ),
        (
            {"optimizer": {"name": "rmsprop", "eps": 0}},
            "/optimizer/eps",
            "input should be greater than 0",
            None,
        ),
        (
            {"optimizer": {"name": "rmsprop", "centred": True}},
            "/optimizer/centred",
            "unknown field",
            "did you mean 'centered'?",
        ),
        (
            {"optimizer": {"name": "rmsprop", "centered": True, "alpha": 0}},
            "/optimizer",
            "'centered' needs 'alpha' above 0",
            None,
        ),
        (
            {"seeds": [0, "1"]},
            "/seeds/1",
            "input should be a valid integer",
            "remove the quotes: 1",
        ),
        ({"seeds": [0, -1]}, "/seeds/1", "input should be greater than or equal to 0", None),
        ({"seeds": 0}, "/seeds", "a number of seeds lies between 1 and 1000", None),
        (
            {"model": {"hidden": [0, 64]}},
            "/model/hidden/0",
            "input should be greater than or equal to 1",
            None,
        ),
        (
            {"model": {"hidden": [64, 3.5]}},
            "/model/hidden/1",
            "input should be a valid integer",
            None,
        ),
        (
            {"model": {"hidden": [3, 4], "depth": 2}},
            "/model",
            "give either 'hidden', or 'depth' and 'width', not both",
            None,
        ),
        ({"model": 5}, "/model", "must be an object", None),
        ({"dataset": None}, "/dataset", "must be an object", None),
        ({"optimizer": []}, "/optimizer", "must be an object", None),
        (
            {"labels": {"a b": "x"}},
            "/labels/a b",
            "must be of A to Z, a to z, 0-9, '_', '.' and '-', without a blank",
            None,
        ),
        ({"labels": {"a": []}}, "/labels/a", "input should be a valid string", None),
        ({"epochs": True}, "/epochs", "input should be a valid integer", None),
        ([], "", "must be an object", "one object is one request: send each alone"),
        ("digits", "", "must be an object", None),
        (None, "", "must be an object", None),
    ],
    ids=str,
)
def test_a_fault_is_named_at_its_place(
    document: Any, place: str, message: str, hint: str | None
) -> None:
    (error,) = errors_of(document)
    assert (error.pointer, error.message) == (place, message)
    assert error.hint == hint or (hint is None and (error.hint or "").startswith("allowed: "))


@pytest.mark.parametrize("wrong", ["adm", 5, None])
def test_a_wrong_name_of_an_optimizer_object_is_pointed_at_like_that_of_a_data_set(
    wrong: Any,
) -> None:
    (error,) = errors_of({"optimizer": {"name": wrong}})
    assert (error.pointer, error.message) == ("/optimizer/name", f"must be {OPTIMIZERS}")


@pytest.mark.parametrize(
    ("hidden", "place"),
    [([0, 0], "/model/hidden/0"), ([99999], "/model/hidden/0"), ([64] * 201, "/model/hidden")],
)
def test_faults_of_equal_hidden_widths_point_at_hidden_and_not_at_fields_nobody_wrote(
    hidden: list[int], place: str
) -> None:
    assert errors_of({"model": {"hidden": hidden}})[0].pointer == place


@pytest.mark.parametrize(("field", "wrong"), [("seeds", ["a", "b"]), ("hidden", [True, 2.5])])
def test_a_list_whose_every_item_is_wrong_is_not_also_called_empty(
    field: str, wrong: list[Any]
) -> None:
    errors = errors_of({"seeds": wrong} if field == "seeds" else {"model": {"hidden": wrong}})
    assert [error.pointer.rpartition("/")[2] for error in errors] == ["0", "1"]


@pytest.mark.parametrize(
    "document",
    [
        {"seeds": "3"},
        {"seeds": []},
        {"seeds": [0] * 1001},
        {"model": {"hidden": {}}},
        {"labels": []},
    ],
    ids=lambda value: str(value)[:30],
)
def test_errors_speak_of_json_and_not_of_python(document: dict[str, Any]) -> None:
    assert not [
        word
        for error in errors_of(document)
        for word in ("tuple", "dictionary", "None")
        if word in error.message
    ]


def test_a_seed_named_twice_is_pointed_at() -> None:
    (error,) = errors_of({"seeds": [1, 1]})
    assert error.pointer == "/seeds"
    assert "twice" in error.message


def test_a_field_named_like_its_optimizer_misleads_no_pointer() -> None:
    assert [
        error.pointer for error in errors_of({"optimizer": {"name": "adam", "adam": {}, "lr": 3}})
    ] == [
        "/optimizer/adam",
        "/optimizer/lr",
    ]


def test_every_fault_is_listed_at_once() -> None:
    errors = errors_of(
        {"epoch": 3, "model": {"widht": 1, "dropout": 2}, "optimizer": "adma", "seeds": [0, "x"]}
    )
    assert {error.pointer for error in errors} == {
        "/epoch",
        "/model/widht",
        "/model/dropout",
        "/optimizer",
        "/seeds/1",
    }


def test_the_exception_itself_reads_well() -> None:
    with pytest.raises(
        InvalidDocument,
        match=r"^/epoch: unknown field; /optimizer: must be .*$|^/optimizer.*; /epoch",
    ):
        validate(ExperimentRequest, {"epoch": 3, "optimizer": "x"})
    with pytest.raises(InvalidDocument, match=r"^the body: must be an object$"):
        validate(ExperimentRequest, 3)


def test_pointers_follow_rfc_6901() -> None:
    assert pointer([]) == ""
    assert pointer(["a/b", 0, "m~n", ""]) == "/a~1b/0/m~0n/"


def test_did_you_mean_names_the_nearest_or_all() -> None:
    assert did_you_mean("DEPHT", ["depth", "width"]) == "did you mean 'depth'?"
    assert did_you_mean("q", ["width", "depth"]) == "allowed: depth, width"
    assert did_you_mean("q", []) is None
    assert errors_of({"quorum": 3})[0].hint.startswith("allowed: ")
    assert errors_of({"epohcs": 3})[0].hint == "did you mean 'epochs'?"


KNOWN_NAMES = [
    "dataset", "model", "optimizer", "schedule", "seeds", "labels", "name", "arch", "kind", "epochs",
    "batch_size", "hidden", "depth", "width",
    "residual", "dropout", "learning_rate", "momentum", "nesterov", "train_limit", "val_fraction", "adam",
    "sgd", "mlp", "train",
]  # fmt: skip
KNOWN_VALUES = [
    "adam",
    "sgd",
    "mlp",
    "digits",
    "mnist",
    "train",
    "constant",
    "batch",
    "last_hidden",
    "adm",
    "minst",
]
# what parse_json itself refuses is tested above
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(KNOWN_VALUES)
    | texts
)
names = st.sampled_from(KNOWN_NAMES) | texts
documents = st.recursive(
    values,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5),
    max_leaves=12,
)


def resolve(place: str, document: Any) -> Any:
    """The value that a JSON Pointer names; raises LookupError where there is none."""
    node = document
    for part in place.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        node = (
            node[int(name)]
            if isinstance(node, list)
            else node[name]
            if isinstance(node, dict)
            else {}[name]
        )
    return node


@EXAMPLES
@given(st.dictionaries(names, documents, max_size=6) | documents)
def test_any_json_is_a_request_or_an_invalid_document_whose_pointers_resolve(document: Any) -> None:
    document = parse_json(json.dumps(document).encode())
    request, errors = None, []
    try:
        request = validate(ExperimentRequest, document)
    except InvalidDocument as invalid:
        errors = invalid.errors
    assert (request is None) == bool(errors)
    for error in errors:
        assert error.message
        outer = (
            error.pointer if error.message == "unknown field" else error.pointer.rpartition("/")[0]
        )
        resolve(outer, document)


@EXAMPLES
@given(
    spec_documents(),
    st.sampled_from(["dataset", "model", "optimizer", "schedule", ""]),
    st.text(min_size=1, max_size=8),
)
def test_one_unknown_field_in_a_valid_document_is_found_where_it_was_put(
    document: dict[str, Any], part: str, name: str
) -> None:
    outer = document if not part else document.setdefault(part, {})
    if isinstance(outer, str):
        network = "preset" if outer in PRESETS else "arch"
        outer = document[part] = {network if part == "model" else "name": outer}
    name = f"{name}?"
    outer[name] = 1
    (error,) = errors_of(document)
    assert (error.pointer, error.message) == (
        pointer([part, name] if part else [name]),
        "unknown field",
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_what_an_editor_has_marked_is_read(encoding: str) -> None:
    assert parse_json('{"name": "Größe 😀"}\r\n'.encode(encoding)) == {"name": "Größe 😀"}


def test_marks_of_the_other_byte_order_are_read_too() -> None:
    for mark, encoding in ((b"\xfe\xff", "utf-16-be"), (b"\0\0\xfe\xff", "utf-32-be")):
        assert parse_json(mark + '{"a": 1}'.encode(encoding)) == {"a": 1}


@pytest.mark.parametrize("part", [b"---\n\n", b"# x\n", b"\n ", b"--\n", b"a.", b"{'", b"%"])
def test_what_a_body_is_instead_is_told_in_linear_time(part: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(NotJSON):
        parse_json(part * 100_000 + b"!")
    assert time.process_time() - begun < 5, "of a body of half a megabyte; else it would not end"
