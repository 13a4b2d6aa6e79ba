"""A spec in YAML means what it says: numbers as scripts write them, words as words, no key twice."""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab_models.conftest import EXAMPLES
from training_lab.commands.changes import add_set
from training_lab.documents import document_of
from training_lab.errors import Unusable
from training_lab.yaml_documents import YAMLFault, read_yaml


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1e-3", 1e-3),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-2.", -2.0),
        ("3", 3),
        ("03", 3),
        ("-7", -7),
        ("0o17", 15),
        ("0x1F", 31),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("2024-01-05", "2024-01-05"),
        ("12:30:00", "12:30:00"),
        ("1_000", "1_000"),
        ("1e", "1e"),
        ("+", "+"),
        ("'3'", "3"),
        ("mlp", "mlp"),
    ],
)
def test_a_plain_word_is_what_yaml_1_2_says(text: str, meant: Any) -> None:
    found = read_yaml(f"a: {text}".encode())["a"]
    assert (found, type(found)) == (meant, type(meant))


def test_infinity_and_nan_are_numbers_which_json_then_refuses() -> None:
    assert read_yaml(b"[.inf, -.inf]") == [math.inf, -math.inf]
    assert math.isnan(read_yaml(b"[.nan]")[0])


def test_a_key_that_stands_twice_is_refused_with_its_line() -> None:
    with pytest.raises(YAMLFault, match=r"'epochs' stands twice(.|\n)*line 3"):
        read_yaml(b"epochs: 2\nseeds: 1\nepochs: 3\n")
    with pytest.raises(YAMLFault, match="'on' stands twice"):
        read_yaml(b"labels: {on: x, on: y}")
    assert read_yaml(b"- {a: 1}\n- {a: 2}\n") == [{"a": 1}, {"a": 2}]


def test_parts_that_are_shared_are_merged_and_may_be_replaced() -> None:
    text = (
        b"base: &b {lr: 1e-3, epochs: 2}\nmore: &m {<<: *b, epochs: 3}\nlast: {<<: *m, seeds: 1}\n"
    )
    found = read_yaml(text)
    assert found["more"] == {"lr": 1e-3, "epochs": 3}
    assert found["last"] == {"lr": 1e-3, "epochs": 3, "seeds": 1}


def test_nothing_is_made_of_tags_but_data() -> None:
    with pytest.raises(YAMLFault):
        read_yaml(b"!!python/object/apply:os.getcwd []")


TEXTS = st.text(st.characters(categories=("L", "N", "P", "S", "Zs"), max_codepoint=0xD7FF))


@EXAMPLES
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(allow_nan=False) | TEXTS,
        lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXTS, below, max_size=3),
        max_leaves=8,
    )
)
def test_what_json_can_say_is_read_as_json_has_it(document: Any) -> None:
    """JSON with its texts in quotes is YAML."""
    written = json.dumps(document, ensure_ascii=False).replace("Infinity", ".inf")
    assert read_yaml(written.encode()) == document


def test_labels_names_and_keys_are_texts_as_they_are_written() -> None:
    text = b"""
name: 007
labels: {on: x, week: 03, version: 1.10, mass: 1e3, hex: 0x1F, quoted: '7', none: null, 03: a, yes: no, true: b}
optimizer: {name: sgd, learning_rate: 1e-3}
dataset: {name: digits, train_limit: 03}
"""
    assert read_yaml(text) == {
        "name": "007",
        "labels": {
            "on": "x",
            "week": "03",
            "version": "1.10",
            "mass": "1e3",
            "hex": "0x1F",
            "quoted": "7",
            "none": None,
            "03": "a",
            "yes": "no",
            "true": "b",
        },
        "optimizer": {"name": "sgd", "learning_rate": 1e-3},
        "dataset": {"name": "digits", "train_limit": 3},
    }
    assert read_yaml(b"{1: a, 01: b, ~: c}") == {"1": "a", "01": "b", "~": "c"}


def test_labels_that_are_shared_or_set_by_a_path_are_texts_too() -> None:
    text = (
        b"base: &b {version: 1.10}\nlabels: {<<: *b, week: 03}\nset: {labels.run: 1.10, epochs: 3}"
    )
    found = read_yaml(text)
    assert found["labels"] == {"version": "1.10", "week": "03"}
    assert found["base"] == {"version": 1.1}
    assert found["set"] == {"labels.run": "1.10", "epochs": 3}
    studies = read_yaml(b"studies:\n- labels: &l {v: 1.10}\n- labels: *l\n")
    assert studies == {"studies": [{"labels": {"v": "1.10"}}] * 2}


def test_a_numbers_key_that_stands_twice_is_found_by_what_is_written() -> None:
    with pytest.raises(YAMLFault, match="'03' stands twice"):
        read_yaml(b"labels: {03: x, '03': y}")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("labels.version=1.10", "1.10"),
        ("labels.week=03", "03"),
        ("name=1e3", "1e3"),
        ('labels.version="1.10"', "1.10"),
        ("labels.version=null", None),
        ("optimizer.learning_rate=1e-3", 1e-3),
        ("epochs=3", 3),
    ],
)
def test_a_label_that_the_command_line_sets_is_text(text: str, meant: Any) -> None:
    parser = argparse.ArgumentParser()
    add_set(parser, "")
    ((_, found),) = parser.parse_args(["--set", text]).set
    assert (found, type(found)) == (meant, type(meant))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"epochs: 3\n"),
        ("spec", b"# a comment\nepochs: 3\n"),
        ("a.txt", b'{"epochs": 3}'),
        ("A.JSON", b'{"epochs": 3}'),
        ("a.YAML", b"epochs: 3\n"),
        ("a.yaml", "epochs: 3\n".encode("utf-16-le")),
        ("a.json", '{"epochs": 3}'.encode("utf-16-be")),
        ("a.txt", "epochs: 3\r\n".encode("utf-8-sig")),
    ],
)
def test_a_spec_in_a_file_of_any_name_is_read(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert document_of(tmp_path / name) == {"epochs": 3}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"epochs:3\n", "a blank stands after a colon: `epochs: 3`"),
        ("a.yaml", b"name: M\xfcller\n", "is not UTF-8 (byte 7): save it as UTF-8"),
        ("a.md", b"# A report\n\nof words alone\n", "holds no object, and a spec is one"),
        ("a.json", b"epochs: 3", "is not JSON"),
        ("a.txt", b"", "is not JSON"),
    ],
)
def test_what_a_file_is_instead_is_said(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Unusable) as refused:
        document_of(tmp_path / name)
    assert said in str(refused.value)
