"""YAML as JSON has it: by YAML 1.2's core schema, so that `1e-3` is a number and `no`, `on` and dates are texts."""

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


class _CoreLoader(yaml.SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader with the tags of 1.2, and no key twice."""

    yaml_implicit_resolvers: Any = {}  # none of 1.1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Raises ConstructorError for a key that stands twice, as JSON is refused with one."""
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int | float) and key in seen:
                raise ConstructorError(
                    None, None, f"the key {key!r} stands twice in one object", key_node.start_mark
                )
            seen.add(key if isinstance(key, str | int | float) else None)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


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
_CoreLoader.add_constructor("tag:yaml.org,2002:int", _whole)
_CoreLoader.add_constructor("tag:yaml.org,2002:float", _number)


def read_yaml(content: bytes) -> Any:
    """The document; raises yaml.YAMLError, or ValueError for bytes that are no text."""
    return yaml.load(content, _CoreLoader)  # noqa: S506  # built on the safe loader
