"""What documents, docstrings and comments name in backticks exists: files, folders, modules, and what is in them."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("app", "worker", "lab_models", "migrations", "tests", "benchmarks")
FOLDERS = (*PACKAGES, "client", "docs", "requirements", ".ci")
HISTORY = {"CHANGELOG.md"}
"""What names things that were."""
NOT_OURS = {"app.py", "random.py", "worker.py"}
"""Files that somebody else may have where the service is started."""
MADE = {"benchmarks/latest.json", "benchmarks/load.json"}
"""What a command leaves here."""
OF_FASTAPI = ("app.state", "app.openapi", "request.state")
"""Of its objects, which are called as a package and modules are."""
SUFFIXES = (".py", ".md", ".txt", ".toml", ".yml", ".safetensors")
IN_A_SPEC = {
    "dataset",
    "augmentation",
    "model",
    "optimizer",
    "schedule",
    "features",
    "test",
    "val",
    "gradient_flow",
}
"""Where a dotted name begins that is a field of a spec or a score, whatever modules there are."""
IN_BACKTICKS = re.compile(r"(?<!`)`([^`]+)`(?!`)")
PATH = re.compile(r"[\w.\-]+(?:/[\w.\-]+)*/?")
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")


@dataclass(frozen=True)
class Mention:
    """A name in backticks and where it stands."""

    path: Path
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: `{self.name}`"


def in_text(path: Path, text: str, first_line: int = 1) -> Iterator[Mention]:
    """Of a text; what is in backticks may go on in the next line, and never beyond its paragraph."""
    for paragraph in re.finditer(r".+?(?:\n[ \t#]*\n|\Z)", text, re.DOTALL):
        for found in IN_BACKTICKS.finditer(paragraph[0]):
            line = first_line + text.count("\n", 0, paragraph.start() + found.start())
            yield Mention(path, line, " ".join(found[1].split()).removesuffix("()"))


def without_code_blocks(text: str) -> str:
    """A document in which fenced lines are empty, so that the others keep their numbers."""
    blocks = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
    return blocks.sub(lambda block: "\n" * block[0].count("\n"), text)


def in_document(path: Path) -> Iterator[Mention]:
    yield from in_text(path, without_code_blocks(path.read_text()))


def in_code(path: Path) -> Iterator[Mention]:
    """Of docstrings, other strings that stand for themselves, and comments."""
    for node in statements(parsed(path)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield from in_text(path, text, node.lineno)
    text = path.read_text()
    if any("#" in line and "`" in line for line in text.splitlines()):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                yield from in_text(path, token.string, token.start[0])


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every statement, without what they are made of."""
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        below = getattr(node, part, [])
        for one in below if isinstance(below, list) else []:
            yield one
            yield from statements(one)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


DOCUMENTS = [
    path
    for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
    if path.name not in HISTORY
]
CODE = [
    path
    for package in (*PACKAGES, "client/training_lab")
    for path in sorted((ROOT / package).rglob("*.py"))
]


@cache
def mentions() -> list[Mention]:
    return [
        mention
        for paths, read in ((DOCUMENTS, in_document), (CODE, in_code))
        for path in paths
        for mention in read(path)
    ]


# Files and folders


def is_file_of_ours(name: str) -> bool:
    """Whether it can only be meant as a file or folder of the project."""
    if PATH.fullmatch(name) is None or name in NOT_OURS | MADE:
        return False
    return name.endswith(".py") or ("/" in name and (name.split("/")[0] in FOLDERS))


def exists(mention: Mention) -> bool:
    """From the root, among the tests (as tables of them say it) or beside what names it; a document may leave out where
    a module begins.
    """
    beside = mention.path.parent
    if any((folder / mention.name).exists() for folder in (ROOT, ROOT / "tests", beside)):
        return True
    return mention.path.suffix == ".md" and any(
        str(path).endswith(f"/{mention.name}") for path in CODE
    )


# Modules and what is in them


@cache
def tree(module: str) -> ast.Module | None:
    place = ROOT.joinpath(*module.split("."))
    for path in (place / "__init__.py", place.with_suffix(".py")):
        if path.is_file():
            return parsed(path)
    return None


def bound(body: list[ast.stmt]) -> Iterator[tuple[str, ast.AST | str]]:
    """Every name that statements bind: its class or function, the dotted name it is imported from, or the statement."""
    for node in body:
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name, node
            case ast.ImportFrom(module=str(module)):
                yield from ((one.asname or one.name, f"{module}.{one.name}") for one in node.names)
            case ast.Import():
                yield from ((one.asname or one.name.split(".")[0], one.name) for one in node.names)
            case ast.Assign():
                for target in node.targets:
                    yield from (
                        (part.id, node) for part in ast.walk(target) if isinstance(part, ast.Name)
                    )
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name, node
            case ast.If() | ast.Try() | ast.With():
                yield from bound([*node.body, *getattr(node, "orelse", [])])
            case _:
                pass


def is_there(dotted: str) -> bool:
    """Whether a dotted name from a package of ours on leads to a module or to something in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        module = tree(".".join(parts[:length]))
        if module is not None:
            return is_in_module(".".join(parts[:length]), parts[length:])
    return (ROOT.joinpath(*parts)).is_dir()


def is_in_module(module: str, rest: list[str]) -> bool:
    if not rest:
        return True
    found = tree(module)
    assert found is not None
    names = dict(bound(found.body))
    if rest[0] not in names:
        return False
    target = names[rest[0]]
    if isinstance(target, str):
        return target.split(".")[0] not in PACKAGES or is_there(".".join([target, *rest[1:]]))
    return len(rest) == 1 or (
        is_in_class(module, target, rest[1]) if isinstance(target, ast.ClassDef) else True
    )


def is_in_class(module: str, definition: ast.ClassDef, name: str) -> bool:
    """A field, a method, what a method gives `self`, or the same of a base; what comes from elsewhere is believed."""
    if name in dict(bound(definition.body)):
        return True
    for node in ast.walk(definition):
        if (
            isinstance(node, ast.Attribute)
            and node.attr == name
            and isinstance(node.ctx, ast.Store)
        ):
            return True
    found = tree(module)
    assert found is not None
    names = dict(bound(found.body))
    for base in definition.bases:
        target = names.get(base.id) if isinstance(base, ast.Name) else None
        if isinstance(target, str) and target.split(".")[0] in PACKAGES:
            owner, _, above = target.rpartition(".")
            owner, above = where_defined(owner, above)
            of = dict(bound(tree(owner).body)).get(above)  # type: ignore[union-attr]
            if isinstance(of, ast.ClassDef) and is_in_class(owner, of, name):
                return True
        elif isinstance(target, ast.ClassDef) and is_in_class(module, target, name):
            return True
    return False


def where_defined(module: str, name: str) -> tuple[str, str]:
    """The module in which a name is no import of another of ours."""
    found = tree(module)
    target = dict(bound(found.body)).get(name) if found is not None else None
    if isinstance(target, str) and target.split(".")[0] in PACKAGES:
        owner, _, above = target.rpartition(".")
        return where_defined(owner, above)
    return module, name


@cache
def classes() -> dict[str, list[tuple[str, ast.ClassDef]]]:
    """Every class of the project by its name, with its module."""
    found: dict[str, list[tuple[str, ast.ClassDef]]] = {}
    for path in CODE:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in tree(module).body:  # type: ignore[union-attr]
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append((module, node))
    return found


def attribute_is_there(dotted: str) -> bool:
    """Of `Class.attribute`."""
    name, attribute = dotted.split(".")[:2]
    return any(is_in_class(module, node, attribute) for module, node in classes()[name])


@cache
def modules_called(name: str) -> list[str]:
    """Every module and room with that last name."""
    found = [path.relative_to(ROOT) for path in CODE if path.stem == name]
    rooms = [path.parent.relative_to(ROOT) for path in CODE if path.match(f"{name}/__init__.py")]
    return [".".join(path.with_suffix("").parts) for path in (*found, *rooms)]


@cache
def parameters(path: Path) -> set[str]:
    """What functions of a module call what they are given, whatever modules are called so."""
    return {node.arg for node in ast.walk(parsed(path)) if isinstance(node, ast.arg)}


# Words


@cache
def words_of_the_code() -> set[str]:
    sources = [
        *CODE,
        ROOT / "Makefile",
        ROOT / "pyproject.toml",
        ROOT / "docker-compose.yml",
        ROOT / "Dockerfile",
    ]
    return {
        word
        for path in sources
        if path != Path(__file__)
        for word in re.findall(r"[A-Za-z_]\w*", path.read_text())
    }


def test_every_file_and_folder_that_is_named_exists() -> None:
    named = [mention for mention in mentions() if is_file_of_ours(mention.name)]
    assert len(named) > 100
    missing = [str(mention) for mention in named if not exists(mention)]
    assert not missing, "there is no such file or folder:\n" + "\n".join(missing)


def test_every_module_that_is_named_exists_and_has_what_is_named_in_it() -> None:
    named = [
        mention
        for mention in mentions()
        if DOTTED.fullmatch(mention.name)
        and mention.name.split(".")[0] in PACKAGES
        and not mention.name.endswith(SUFFIXES)
        and not mention.name.startswith(OF_FASTAPI)
    ]
    assert len(named) > 10
    missing = [str(mention) for mention in named if not is_there(mention.name)]
    assert not missing, "there is no such module, or nothing of that name in it:\n" + "\n".join(
        missing
    )


def test_everything_that_docstrings_and_comments_name_in_a_module_exists() -> None:
    """`teachers.hold_still`: in some module of that name there is something of that name."""
    named = [
        (mention, *mention.name.split(".", 1))
        for mention in mentions()
        if mention.path.suffix == ".py"
        and DOTTED.fullmatch(mention.name)
        and not mention.name.endswith(SUFFIXES)
        and not mention.name.startswith(OF_FASTAPI)
        and mention.name.split(".")[0] not in (*PACKAGES, *IN_A_SPEC, *parameters(mention.path))
    ]
    missing = [
        str(mention)
        for mention, first, rest in named
        if (modules := modules_called(first))
        and not any(is_there(f"{module}.{rest}") for module in modules)
    ]
    assert not missing, "there is nothing of that name in the module:\n" + "\n".join(missing)


def test_every_page_of_the_documents_that_code_names_exists() -> None:
    missing = [
        f"{path.relative_to(ROOT)}:{number}: {page}"
        for path in CODE
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        for page in re.findall(r"(?<![\w/.\"'{])docs/[\w./\-]*\w", line)
        if not any(ROOT.glob(f"{page}*"))
    ]
    assert not missing, "there is no such page:\n" + "\n".join(missing)


def test_every_attribute_of_a_class_that_is_named_exists() -> None:
    named = [
        mention
        for mention in mentions()
        if DOTTED.fullmatch(mention.name) and mention.name.split(".")[0] in classes()
    ]
    missing = [str(mention) for mention in named if not attribute_is_there(mention.name)]
    assert not missing, "that class has no such attribute:\n" + "\n".join(missing)


def test_every_word_in_backticks_of_the_documents_for_contributors_stands_in_the_code() -> None:
    documents = ("CONTRIBUTING.md", "architecture.md", "glossary.md", "lifecycle.md")
    missing = [
        str(mention)
        for mention in mentions()
        if mention.path.name in documents
        and re.fullmatch(r"[A-Za-z_]\w*", mention.name)
        and mention.name not in words_of_the_code()
    ]
    assert not missing, "nothing in the code is called so:\n" + "\n".join(missing)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("app.services.lifecycle", True),
        ("app.services.lifecycle.pause", True),
        ("app.storage.tables.Run.status", True),
        ("app.storage.tables.Run.stand", False),
        ("app.services.nowhere", False),
        ("lab_models.specs.TrainSpec.epochs", True),
        ("lab_models.specs.fingerprints", False),
    ],
)
def test_a_name_is_found_where_it_is_and_nowhere_else(name: str, found: bool) -> None:
    assert is_there(name) is found
