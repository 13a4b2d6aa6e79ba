"""YAML as JSON has it: by YAML 1.2's core schema, so that `1e-3` is a number and `no`, `on` and dates are texts. Keys,
labels and names are texts as they are written, so that `version: 1.10` is not 1.1 nor `week: 03` 3.
"""

import re
from typing import Any, Final

import yaml
from yaml.constructor import ConstructorError

CORE: Final = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "null": (r"null|Null|NULL|~|", ["n", "N", "~", ""]),
}
"""What a plain word is, with what it may begin (YAML 1.2.2, section 10.3.2); all else is text."""

TEXTS: Final = ("name", "notes")
"""Fields of requests, of data sets, optimizers and so on in which no number stands."""
MERGE: Final = "tag:yaml.org,2002:merge"
"""`<<`, which 1.2 has no more and specs that share parts have."""


class _CoreLoader(yaml.SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader with the tags of 1.2, and no key twice."""

    yaml_implicit_resolvers: Any = {}  # none of 1.1

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Raises ConstructorError for a key that stands twice, as JSON is refused with one; what `<<` brings may be
        replaced.
        """
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                if key.value in seen:
                    said = f"the key {key.value!r} stands twice in one object"
                    raise ConstructorError(None, None, said, key.start_mark)
                seen.add(key.value)
        return node

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> Any:
        """As in YAML, but for what is text in JSON: every key, and values of labels and names."""
        if isinstance(node, yaml.MappingNode):
            self.flatten_mapping(node)
            node.value = [
                (_as_written(key, "null"), self._meant(key, value)) for key, value in node.value
            ]
        return super().construct_mapping(node, deep)

    def _meant(self, key: yaml.Node, value: yaml.Node) -> yaml.Node:
        word = str(key.value)
        if word in TEXTS or word.startswith("labels."):
            return _as_written(value)
        if word == "labels" and isinstance(value, yaml.MappingNode):
            self.flatten_mapping(value)
            pairs = [(name, _as_written(label)) for name, label in value.value]
            return yaml.MappingNode(value.tag, pairs, value.start_mark, value.end_mark)
        return value


def _as_written(node: yaml.Node, *more: str) -> yaml.Node:
    """A plain number or truth value, or one of `more` kinds, as the text that stands there."""
    tags = [f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float", *more)]
    if not isinstance(node, yaml.ScalarNode) or node.tag not in tags:
        return node
    return yaml.ScalarNode(
        "tag:yaml.org,2002:str", node.value, node.start_mark, node.end_mark, node.style
    )


def _whole(loader: _CoreLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text, base)


def _number(loader: _CoreLoader, node: yaml.ScalarNode) -> float:
    return float(str(loader.construct_scalar(node)).replace(".inf", "inf").replace(".nan", "nan"))


for _name, (_pattern, _first) in CORE.items():
    _CoreLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), list(_first)
    )
_CoreLoader.add_implicit_resolver(MERGE, re.compile(r"^<<$"), ["<"])
_CoreLoader.add_constructor("tag:yaml.org,2002:int", _whole)
_CoreLoader.add_constructor("tag:yaml.org,2002:float", _number)


class YAMLFault(ValueError):
    """The bytes are no YAML document."""


def read_yaml(content: bytes | str) -> Any:
    """The document; raises YAMLFault."""
    try:
        return yaml.load(content, _CoreLoader)  # noqa: S506  # built on the safe loader
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise YAMLFault(str(error)) from error
