"""`lab study` and `lab extend`: studies sent to a service, priced, waited for and grown, over HTTP."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training_lab.commands import labs, report_files
from training_lab.commands.changes import add_set, with_changes
from training_lab.commands.command_line import EXIT_DONE, EXIT_REFUSED, add_service_command
from training_lab.commands.ids import STUDY, whole_id
from training_lab.commands.job_waiting import add_wait, check_timeout, wait_or_stop
from training_lab.commands.output import count, say, show_json
from training_lab.commands.requesting import Service, address, say_warnings
from training_lab.commands.study_plans import show_plan
from training_lab.documents import read_document
from training_lab.errors import Unusable
from training_lab.lab import Lab

FILE_SUFFIXES = {".json", ".yaml", ".yml"}
STUDY_FIELDS = {*labs.KINDS, "vary", labs.STUDIES}
"""Fields that the body of a study, or a file of several, has and an experiment's has not."""

STATUSES = ("succeeded", "running", "queued", "paused", "failed", "cancelled")
"""In the order in which people ask for them."""


def add_parser(commands: Any) -> None:
    """Add `lab study` and `lab extend`."""
    study = add_service_command(
        commands,
        "study",
        "run a recipe, studies of your own from a JSON or YAML file, or all recipes",
        "lab study mlp-depth --scale smoke --set dataset.name=digits --wait",
        _study,
    )
    study.add_argument(
        "what",
        metavar="RECIPE|FILE",
        nargs="?",
        help=(
            "a recipe's name (`lab recipes` lists them) or a file that ends in .json, .yaml or .yml, of one study or,"
            " under 'studies', of several"
        ),
    )
    study.add_argument("--all", action="store_true", help="run every recipe, in their order")
    study.add_argument(
        "--scale",
        choices=["smoke", "full"],
        help="smoke ends in minutes on two cores, full is what the source did (default: full)",
    )
    study.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="replicates of each cell (default: the recipe's own number, or 3)",
    )
    add_set(study, "change a field of every cell: --set dataset.name=digits")
    study.add_argument("--name", help="what to call it (default: the recipe's title)")
    study.add_argument(
        "--final",
        action="store_true",
        help="decide once, when all seeds have ended, at the whole 5 %%; no seeds can be added",
    )
    study.add_argument(
        "--no-reuse",
        action="store_true",
        help="train every run, even where an equal one has finished",
    )
    study.add_argument("--dry-run", action="store_true", help="check and price it, store nothing")
    add_wait(study, "show progress until it ends, then its table and verdicts")
    study.add_argument(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="wait, then save its report, a page that needs nothing but itself",
    )
    extend = add_service_command(
        commands,
        "extend",
        "add replicates to every cell of a study",
        "lab extend @last-study --seeds 2",
        _extend,
    )
    extend.add_argument("id", metavar="ID", help="stu_…, its first characters, or @last-study")
    extend.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="how many to add (default: 1)"
    )


def is_study_body(document: Any) -> bool:
    """Whether a document is the body of a study, or several, not of an experiment."""
    return isinstance(document, dict) and not STUDY_FIELDS.isdisjoint(document)


def _study(lab: Lab, options: argparse.Namespace) -> int:
    check_timeout(options, waits=options.wait or options.report is not None)
    if options.report is not None:
        report_files.check_place(options.report, options.dry_run)
    if options.all == (options.what is not None):
        raise Unusable("name a recipe or a file, or give --all; one of them")
    service, document = Service(lab), _document(options.what)
    if options.all or labs.is_lab(document):
        return _lab(service, options, document)
    body = _changed(document, options)
    if options.dry_run:
        return show_plan(service.post("/studies", body, dry_run="true"))
    record = service.make("/studies", body)
    if not options.quiet:
        said = f"{record['id']}: {record['num_cells']} cells, {_runs(record)}."
        say(f"{said} Its report, at any time: {service.url}{record['links']['report']}")
        say_warnings(record)
    if options.wait or options.report is not None:
        return _wait_for_results(service, record["id"], options)
    show_json(record)
    return EXIT_DONE


def _lab(service: Service, options: argparse.Namespace, document: Any) -> int:
    """Several studies, priced before any is sent."""
    for name, given in (("--name", options.name), ("--report", options.report)):
        if given is not None:
            raise Unusable(f"{name} is of one study, and these are several")
    parts = (
        labs.all_recipes(service) if options.all else labs.read_lab(document, Path(options.what))
    )
    parts = [labs.Part(part.place, _changed(part.body, options)) for part in parts]
    priced = labs.prices(service, parts)
    if options.dry_run:
        labs.show_prices(parts, priced)
        return EXIT_DONE
    results = (lambda one: _wait_for_results(service, one, options)) if options.wait else None
    return labs.send_all(service, parts, priced, results)


def _extend(lab: Lab, options: argparse.Namespace) -> int:
    study = whole_id(lab, options.id, STUDY)
    show_json(Service(lab).post(f"{address(study)}/extend", {"seeds": options.seeds}))
    return EXIT_DONE


def _document(what: str | None) -> Any:
    """What is named: a recipe's body, or the document of a file; raises Unusable."""
    if what is None:
        return None
    return _file(Path(what)) if _is_file(what) else {"recipe": what}


def _changed(document: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The body to send, with what the options change; raises Unusable."""
    body = dict(document)
    wishes = {
        "scale": options.scale,
        "seeds": options.seeds,
        "name": options.name,
        "final": True if options.final else None,
        "reuse": False if options.no_reuse else None,
    }
    body |= {field: value for field, value in wishes.items() if value is not None}
    return with_changes(body, "overrides", options)


def _is_file(what: str) -> bool:
    return Path(what).suffix in FILE_SUFFIXES or Path(what).is_file()


def _file(path: Path) -> dict[str, Any]:
    document = read_document(path)
    if not is_study_body(document):
        raise Unusable(
            f"{path} holds no study, which has 'recipe', 'specs', or 'spec' with 'vary', or several under 'studies'; an"
            f" experiment is sent with `lab submit {path}`"
        )
    found: dict[str, Any] = document
    return found


def _wait_for_results(service: Service, study: str, options: argparse.Namespace) -> int:
    """Table and verdicts as Markdown on standard output, what failed on standard error; the exit status."""
    record = wait_or_stop(service, study, options)
    links, report = record["links"], options.report
    # of a search people want to see first what was found
    order = "&sort=best" if record["sample"] is not None else ""
    print(service.download(f"{links['table']}?format=md{order}").decode())
    for line in _verdicts(service.get(links["verdicts"])):
        print(line)
    for error in record["errors"]:
        hint = f" ({error['hint']})" if error["hint"] else ""
        say(f"{error['cell']}, seed {error['seed']}: {error['message']}{hint}")
    if record["status"] != "succeeded":
        say(f"{_runs(record)}. `lab retry {record['id']}` queues the others again.")
    if report is not None:
        report_files.save(service.download(links["report"]), report)
        if not options.quiet:
            say(f"Report: {report}")
    return EXIT_DONE if record["status"] == "succeeded" else EXIT_REFUSED


def _verdicts(verdicts: dict[str, Any]) -> Iterator[str]:
    """Markdown: lists of contrasts, claims and what to keep in mind of them."""
    for title, lines in (
        (
            "Contrasts",
            [f"{contrast['title']}. {contrast['sentence']}" for contrast in verdicts["contrasts"]],
        ),
        (
            "Claims",
            [
                f'"{claim["text"]}" ({claim["source"]}). {claim["sentence"]}'
                for claim in verdicts["claims"]
            ],
        ),
        ("Keep in mind", verdicts["cautions"]),
    ):
        if lines:
            yield from (f"### {title}", "", *(f"- {line}" for line in lines), "")


def _runs(record: dict[str, Any]) -> str:
    """`15 runs (10 succeeded, 5 queued; 10 taken over from equal runs)`."""
    progress = record["progress"]
    counts = ", ".join(
        f"{progress['runs'][status]} {status}"
        for status in STATUSES
        if progress["runs"].get(status)
    )
    reused = (
        f"; {progress['num_reused']} taken over from equal runs" if progress["num_reused"] else ""
    )
    return f"{count(progress['num_runs'], 'run')} ({counts}{reused})"
