"""A spec in YAML means what it says: numbers as scripts write them, words as words, no key twice."""

import json
import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from app.commands.yaml_files import read_yaml
from tests.lab_models.conftest import EXAMPLES


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
    with pytest.raises(yaml.YAMLError, match=r"'epochs' stands twice(.|\n)*line 3"):
        read_yaml(b"epochs: 2\nseeds: 1\nepochs: 3\n")
    with pytest.raises(yaml.YAMLError, match="'on' stands twice"):
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
    with pytest.raises(yaml.YAMLError):
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
