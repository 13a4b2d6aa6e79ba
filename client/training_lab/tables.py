"""A study's table, what two experiments show, and what a study decides."""

import re
from collections.abc import Mapping
from html import escape
from io import StringIO
from typing import Any, Final

from training_lab.documents import package
from training_lab.html import STYLE
from training_lab.records import Record
from training_lab.summaries import Summary

GUARDED: Final = re.compile(r"'+[=+\-@\t\n\uff1d\uff0b\uff0d\uff20]")


class Table(Record):
    """A study's table in every form that the service writes, and as a frame."""

    def __init__(self, raw: Mapping[str, Any], markdown: str, csv: str, latex: str) -> None:
        super().__init__(raw)
        self.markdown = markdown
        self.csv = csv
        self.latex = latex

    @property
    def metric(self) -> str:
        """What its scores are of, such as `test.accuracy`."""
        return self.as_text("metric")

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row per cell."""
        return self.as_list("rows")

    def frame(self) -> Any:
        """The CSV as a frame of pandas, its texts as they were written; raises Unusable where that is not installed."""
        frame = package("pandas", "a frame").read_csv(
            StringIO(self.csv), keep_default_na=False, na_values=[""]
        )
        for name in frame.select_dtypes(exclude="number").columns:
            frame[name] = frame[name].map(_unguarded)
        return frame

    def _repr_markdown_(self) -> str:
        return self.markdown

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in ("cell", self.metric, "val", "n"))
        lines = "".join(
            f"<tr><td>{escape(str(row.get('title', '')))}</td><td>{_score(row, 'score')}</td>"
            f"<td>{_score(row, 'val')}</td><td>{escape(str((row.get('score') or {}).get('n', 0)))}</td></tr>"
            for row in self.rows
        )
        title = escape(self.as_text("title"))
        return f"<table {STYLE}><caption>{title}</caption><tr>{head}</tr>{lines}</table>"


def _unguarded(value: Any) -> Any:
    """Without the apostrophe that keeps a spreadsheet from computing a text."""
    return value[1:] if isinstance(value, str) and GUARDED.match(value) else value


def _score(row: Mapping[str, Any], name: str) -> str:
    found = row.get(name)
    return "" if not found else escape(str(Summary.of(found)).partition(" (")[0])


class Comparison(Record):
    """Two experiments, or cells of a study, seed by seed: treatment minus control, in `unit`."""

    @property
    def verdict(self) -> str:
        """How the treatment stands to the control: `better`, `worse`, `equivalent`, `open`, …"""
        return self.as_text("verdict")

    @property
    def sentence(self) -> str:
        """The same for people, with difference, interval and p."""
        return self.as_text("sentence")

    @property
    def difference(self) -> float | None:
        """Mean over the paired seeds; None where there is none."""
        return self.as_number("mean")

    @property
    def unit(self) -> str:
        """Of the difference and its interval."""
        return self.as_text("unit")

    @property
    def ci95(self) -> tuple[float, float] | None:
        """Of the difference."""
        found = self.as_list("ci95")
        return (float(found[0]), float(found[1])) if found else None

    @property
    def p(self) -> float | None:
        """Two-sided; after Holm's correction where there is one."""
        return (
            self.as_number("p_t") if self.as_number("p_holm") is None else self.as_number("p_holm")
        )

    @property
    def seeds(self) -> list[int]:
        """Those that both have."""
        return [int(seed) for seed in self.as_list("seeds")]

    @property
    def differs(self) -> dict[str, tuple[Any, Any]]:
        """Fields of the specs that differ, by path: (control, treatment)."""
        return {
            str(one["path"]): (one.get("control"), one.get("treatment"))
            for one in self.as_list("differs")
        }

    @property
    def warnings(self) -> list[str]:
        """What to keep in mind."""
        return [str(line) for line in self.as_list("warnings")]

    def __repr__(self) -> str:
        return f"<Comparison {self.verdict}: {self.sentence}>"


class Verdicts(Record):
    """What a study decides."""

    @property
    def is_complete(self) -> bool:
        """Whether every run has succeeded."""
        return bool(self.raw.get("complete"))

    @property
    def contrasts(self) -> list[Comparison]:
        """Those that could be compared."""
        return [
            Comparison(one["comparison"]) for one in self.as_list("contrasts") if one["comparison"]
        ]

    @property
    def claims(self) -> list[dict[str, Any]]:
        """What the source says, each with `verdict` and `sentence`."""
        return self.as_list("claims")

    @property
    def sentences(self) -> list[str]:
        """Every contrast and claim in words."""
        return [
            str(one["sentence"]) for one in [*self.as_list("contrasts"), *self.as_list("claims")]
        ]
