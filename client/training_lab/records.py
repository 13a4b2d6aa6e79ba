"""Objects over the service's JSON: typed properties for what people ask for, `raw` for all there is.

A field that this version does not know is in `raw` alone; one that an older service does not send is None or empty.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any


class Record:
    """A JSON object of the service."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = dict(raw)

    @property
    def raw(self) -> dict[str, Any]:
        """The object as it was answered."""
        return self._raw

    def as_text(self, name: str) -> str:
        """A field that is a text; empty where there is none."""
        found = self._raw.get(name)
        return "" if found is None else str(found)

    def as_text_or_none(self, name: str) -> str | None:
        """A field that is a text or nothing."""
        found = self._raw.get(name)
        return None if found is None else str(found)

    def as_number(self, name: str) -> float | None:
        """A field that is a number or nothing."""
        found = self._raw.get(name)
        return None if found is None else float(found)

    def as_count(self, name: str) -> int:
        """A field that counts; 0 where there is none."""
        return int(self._raw.get(name) or 0)

    def as_object(self, name: str) -> dict[str, Any]:
        """A field that is an object; empty where there is none."""
        found = self._raw.get(name)
        return dict(found) if isinstance(found, Mapping) else {}

    def as_list(self, name: str) -> list[Any]:
        """A field that is a list; empty where there is none."""
        found = self._raw.get(name)
        return list(found) if isinstance(found, list) else []

    def as_moment(self, name: str) -> datetime | None:
        """A field that is a time, in UTC, or nothing."""
        found = self._raw.get(name)
        return None if found is None else datetime.fromisoformat(found)

    def __repr__(self) -> str:
        named = self._raw.get("id") or self._raw.get("name") or ""
        return f"<{type(self).__name__} {named}>".replace(" >", ">")


class DryRun(Record):
    """What an experiment would be and cost; nothing was stored."""

    @property
    def spec(self) -> dict[str, Any]:
        """The effective spec: every default written out."""
        return self.as_object("spec")

    @property
    def parameters(self) -> int:
        """Numbers that can be trained."""
        return int(self.as_object("estimate").get("parameters") or 0)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image's forward pass."""
        return int(self.as_object("estimate").get("macs_per_sample") or 0)

    @property
    def seconds(self) -> float:
        """What one run takes there."""
        return float(self.as_object("estimate").get("seconds") or 0)

    @property
    def memory_bytes(self) -> int:
        """The least memory that training takes."""
        return int(self.as_object("estimate").get("memory_bytes") or 0)

    @property
    def warnings(self) -> list[str]:
        """What is probably not meant, and what will be in its way."""
        return [str(line) for line in self.as_list("warnings")]


class StudyDryRun(Record):
    """What a study would be and cost; nothing was stored."""

    @property
    def num_runs(self) -> int:
        """Runs of all cells, those that would be taken over too."""
        return self.as_count("num_runs")

    @property
    def seconds(self) -> float:
        """What all runs take there, one after the other."""
        return float(self.as_number("seconds") or 0)

    @property
    def cells(self) -> list[dict[str, Any]]:
        """Each with its key, title, factors, spec, size and cost."""
        return self.as_list("cells")

    @property
    def warnings(self) -> list[str]:
        """What will be in its way."""
        return [str(line) for line in self.as_list("warnings")]


class Dataset(Record):
    """A data set that the service knows."""

    @property
    def name(self) -> str:
        """What a spec calls it."""
        return self.as_text("name")

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height, width."""
        return tuple(self.as_list("shape"))

    @property
    def class_names(self) -> list[str]:
        """In the order of the labels."""
        return [str(name) for name in self.as_list("class_names")]

    @property
    def num_train(self) -> int:
        """Images of train, val not yet cut off."""
        return self.as_count("num_train")

    @property
    def num_test(self) -> int:
        """Images of test."""
        return self.as_count("num_test")

    @property
    def here(self) -> str:
        """`yes`, `download` or `missing`."""
        return self.as_text("here")


class Worker(Record):
    """A worker that has shown itself lately."""

    @property
    def id(self) -> str:
        """Its name."""
        return self.as_text("id")

    @property
    def device(self) -> str:
        """What it trains on, such as `cpu` or `cuda:0`."""
        return self.as_text("device")


class WaitingRun(Record):
    """A run that could start as soon as a worker is free; of others' runs one sees that they are there."""

    @property
    def position(self) -> int:
        """From 1."""
        return self.as_count("position")

    @property
    def experiment_id(self) -> str | None:
        """Whose run it is."""
        return self.as_text_or_none("experiment_id")

    @property
    def starts_at(self) -> datetime | None:
        """About when; None where nothing is known."""
        return self.as_moment("starts_at")


class Recipe(Record):
    """A lab's table, ready to be run as a study."""

    @property
    def name(self) -> str:
        """What `study_of(recipe=…)` calls it."""
        return self.as_text("name")

    @property
    def title(self) -> str:
        """What it is called."""
        return self.as_text("title")

    @property
    def question(self) -> str:
        """What it answers."""
        return self.as_text("question")


class Artifact(Record):
    """A file that a run has published."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.as_text("name")

    @property
    def size_bytes(self) -> int:
        """Its size."""
        return self.as_count("size_bytes")

    @property
    def sha256(self) -> str:
        """What its bytes must have."""
        return self.as_text("sha256")


class Prediction(Record):
    """What a network says of an image."""

    @property
    def name(self) -> str:
        """The most probable class."""
        return str(self.as_object("predicted").get("name", ""))

    @property
    def probability(self) -> float:
        """That class's."""
        return float(self.as_object("predicted").get("probability") or 0)

    @property
    def probabilities(self) -> dict[str, float]:
        """The most probable classes by name, in order."""
        return {
            str(one["name"]): float(one["probability"]) for one in self.as_list("probabilities")
        }

    def __repr__(self) -> str:
        return f"<Prediction {self.name} {self.probability:.3f}>"
