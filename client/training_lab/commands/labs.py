"""A whole lab for `lab study`: several studies of one file, or all recipes, priced together and sent in order."""

import difflib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training_lab.commands.output import NUMBER, TEXT, say, show, table
from training_lab.commands.requesting import Service, say_warnings
from training_lab.commands.terminal import duration
from training_lab.errors import Refused, Unusable

STUDIES = "studies"
FIELDS = ["shared", STUDIES]
MERGED = ("overrides", "labels")
"""Fields of which a study has its own beside the shared ones."""
KINDS = ("recipe", "specs", "spec")

COLUMNS = (
    ("study", TEXT),
    ("title", TEXT),
    ("cells", NUMBER),
    ("runs", NUMBER),
    ("equal to earlier ones", NUMBER),
    ("here", TEXT),
)


@dataclass(frozen=True)
class Part:
    """One study of a lab: where it stands, for people, and the body that is sent."""

    place: str
    body: dict[str, Any]

    @property
    def name(self) -> str:
        """What it is called, or which recipe it is."""
        return str(self.body.get("name") or self.body.get("recipe") or "own study")


@dataclass(frozen=True)
class Price:
    """What a study adds to those before it: its runs, those of them that equal runs of earlier ones, and the seconds
    of the others.
    """

    plan: dict[str, Any]
    num_equal: int
    seconds: float


def is_lab(document: Any) -> bool:
    """Whether a document holds several studies."""
    return isinstance(document, dict) and STUDIES in document


def read_lab(document: dict[str, Any], path: Path) -> list[Part]:
    """The studies of a file, in its order, each with what is shared; raises Unusable with file, study and field."""
    for field in document:
        if field not in FIELDS:
            near = difflib.get_close_matches(str(field).lower(), FIELDS, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"allowed: {', '.join(FIELDS)}"
            raise Unusable(f"{path}: a lab has no field {field!r} ({hint})")
    shared, listed = document.get("shared", {}), document[STUDIES]
    if not isinstance(shared, dict):
        raise Unusable(f"{path}, /shared: must be an object of fields that all studies have")
    if not isinstance(listed, list) or not listed:
        raise Unusable(f"{path}, /studies: must be a list of one study or more")
    parts = []
    for number, study in enumerate(listed, 1):
        place = f"{path}, study {number}"
        if not isinstance(study, dict):
            raise Unusable(f"{place}: must be an object, the body of a study")
        part = Part(place, _with_shared(shared, study, place))
        if not any(kind in part.body for kind in KINDS):
            raise Unusable(
                f"{place} ({part.name}): a study has 'recipe', 'specs', or 'spec' with 'vary'"
            )
        parts.append(part)
    return parts


def all_recipes(service: Service) -> list[Part]:
    """Every recipe that the service knows, in its order."""
    names = [recipe["name"] for recipe in service.get("/recipes")["data"]]
    return [Part("all recipes", {"recipe": name}) for name in names]


def prices(service: Service, parts: Sequence[Part]) -> list[Price]:
    """What each study costs after those before it; nothing is stored. Raises Refused with what is wrong with any of
    them, by file, study and field.
    """
    found: list[Price] = []
    refused: list[Refused] = []
    said: list[str] = []
    seen: set[str] = set()
    for part in parts:
        try:
            plan = service.post("/studies", part.body, dry_run="true")
        except Refused as error:
            refused.append(error)
            said.append(f"{part.place} ({part.name}): {error}")
            continue
        num_equal, seconds = 0, 0.0
        for cell in plan["cells"]:
            if cell["same_as"] is not None:
                continue
            spec = json.dumps(cell["spec"], sort_keys=True)
            for seed in cell["seeds"]:
                run = f"{seed} {spec}"
                num_equal += run in seen
                seconds += 0.0 if run in seen else cell["seconds"]
                seen.add(run)
        found.append(Price(plan, num_equal, seconds))
    if refused:
        raise Refused("\n".join(said), status=refused[0].status, code=refused[0].code)
    return found


def show_prices(parts: Sequence[Part], priced: Sequence[Price]) -> None:
    """A line for each study, and what all of them take together."""
    rows = [
        (
            part.name,
            price.plan["title"],
            f"{len(price.plan['cells']):,}",
            f"{price.plan['num_runs']:,}",
            f"{price.num_equal:,}" if price.num_equal else "",
            duration(price.seconds),
        )
        for part, price in zip(parts, priced, strict=True)
    ]
    for warning in dict.fromkeys(line for price in priced for line in price.plan["warnings"]):
        say(f"warning: {warning}")
    num_runs, num_equal = (
        sum(price.plan["num_runs"] for price in priced),
        sum(price.num_equal for price in priced),
    )
    total = sum(price.seconds for price in priced)
    equal = (
        f" {num_equal:,} of them equal runs of earlier studies and are taken over with --wait."
        if num_equal
        else ""
    )
    show(
        table(COLUMNS, rows),
        "",
        f"{len(parts)} studies, {num_runs:,} runs.{equal} All together {duration(total)}, one run after the other:"
        f" {_basis(priced)}. Runs that equal finished ones cost nothing. Nothing was stored.",
    )


def send_all(
    service: Service,
    parts: Sequence[Part],
    priced: Sequence[Price],
    show_results: Callable[[str], int] | None,
) -> int:
    """Send the studies in order; with `show_results`, which waits for the study of that id, each when the one
    before it has ended, so that equal runs are taken over. Returns the exit status; raises Refused with what was sent
    before.
    """
    num_equal = sum(price.num_equal for price in priced)
    if show_results is None and num_equal:
        say(
            f"{num_equal:,} runs equal those of earlier studies here. Only finished runs are taken over: with --wait"
            " each study is sent when the one before has ended."
        )
    records: list[dict[str, Any]] = []
    status = 0
    for number, part in enumerate(parts, 1):
        try:
            record = service.make("/studies", part.body)
        except Refused as error:
            sent = ", ".join(record["id"] for record in records) or "nothing"
            raise Refused(
                f"{part.place} ({part.name}): {error}\nSent before: {sent}.",
                status=error.status,
                code=error.code,
            ) from error
        records.append(record)
        say(
            f"{number} of {len(parts)}: {record['id']}, {record['name']}, {record['progress']['num_runs']:,} runs"
        )
        say_warnings(record)
        if show_results is not None:
            status = max(status, show_results(record["id"]))
    if show_results is None:
        print(json.dumps(records, indent=2, ensure_ascii=False))
    return status


def _basis(priced: Sequence[Price]) -> str:
    """On what the seconds rest: what the studies have in common, or how each was priced."""
    found = list(dict.fromkeys(price.plan["based_on"] for price in priced))
    if len(found) == 1:
        return str(found[0])
    return "by runs like them that finished here lately, nominal where there are fewer than three"


def _with_shared(shared: dict[str, Any], study: dict[str, Any], place: str) -> dict[str, Any]:
    body = {**shared, **study}
    for field in MERGED:
        both = [part[field] for part in (shared, study) if field in part]
        if not all(isinstance(part, dict) for part in both):
            raise Unusable(f"{place}, /{field}: must be an object")
        if both:
            body[field] = {name: value for part in both for name, value in part.items()}
    return body
