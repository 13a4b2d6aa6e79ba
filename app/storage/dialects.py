"""What SQLite and PostgreSQL say in different words."""

from typing import Any

from sqlalchemy import BigInteger, String, TableValuedAlias, Text, column
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction


class json_pairs(GenericFunction[Any]):  # noqa: N801 - as SQL names it
    """The keys and values of a JSON object of texts, as a table."""

    name = "json_pairs"
    inherit_cache = True


class microseconds(GenericFunction[int]):  # noqa: N801
    """A time as whole microseconds since 1970."""

    name = "microseconds"
    type = BigInteger()
    inherit_cache = True


class folded(GenericFunction[str]):  # noqa: N801
    """A text with its letters A to Z in lower case, and all others as they are."""

    name = "folded"
    type = Text()
    inherit_cache = True


def insert_into(table: Any, dialect: str) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that can be told what to do on a conflict, which both say in the same words."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


def pairs_of(texts: Any) -> TableValuedAlias:
    """A JSON object of texts as a table of `key` and `value`."""
    return json_pairs(texts).table_valued(column("key", String), column("value", String))


@compiles(json_pairs, "sqlite")
def _pairs_on_sqlite(element: json_pairs, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(json_pairs, "postgresql")
def _pairs_on_postgresql(element: json_pairs, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each_text({compiler.process(element.clauses, **options)})"


@compiles(folded, "sqlite")
def _folded_on_sqlite(element: folded, compiler: SQLCompiler, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(folded, "postgresql")
def _folded_on_postgresql(element: folded, compiler: SQLCompiler, **options: Any) -> str:
    # what a language's own rules fold costs ten times as much, and would be another answer than SQLite's
    return f'lower(({compiler.process(element.clauses, **options)}) COLLATE "C")'


@compiles(microseconds, "sqlite")
def _microseconds_on_sqlite(element: microseconds, compiler: SQLCompiler, **options: Any) -> str:
    # as text `2026-01-02 03:04:05.000006`: whole seconds and what stands after the point
    time = compiler.process(element.clauses, **options)
    return f"(CAST(strftime('%s', {time}) AS INTEGER) * 1000000 + CAST(substr({time}, 21, 6) AS INTEGER))"


@compiles(microseconds, "postgresql")
def _microseconds_on_postgresql(
    element: microseconds, compiler: SQLCompiler, **options: Any
) -> str:
    time = compiler.process(element.clauses, **options)
    return f"CAST(extract(epoch FROM {time}) * 1000000 AS BIGINT)"
