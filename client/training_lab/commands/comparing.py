"""`lab compare` and `lab diff`: what experiments have reached, and in what they differ."""

import argparse
from typing import Any

from training_lab.commands import output
from training_lab.commands.command_line import EXIT_DONE, add_service_command
from training_lab.commands.ids import EXPERIMENT, experiment_of, whole_id
from training_lab.commands.output import NUMBER, TEXT
from training_lab.errors import Unusable
from training_lab.lab import Lab
from training_lab.tables import Comparison

WHICH = "exp_…, its first characters, or @last"
COLUMNS = (
    ("experiment", TEXT),
    ("name", TEXT),
    ("verdict", TEXT),
    ("difference", NUMBER),
    ("95 % interval", TEXT),
    ("p", NUMBER),
    ("seeds", NUMBER),
)


def add_parser(commands: Any) -> None:
    """Add both."""
    compare = add_service_command(
        commands,
        "compare",
        "tell whether experiments are better than the first one, seed by seed",
        "lab compare exp_4k7z exp_9c2m --metric test.accuracy",
        _compare,
    )
    compare.add_argument("id", metavar="CONTROL", help=WHICH)
    compare.add_argument("others", metavar="ID", nargs="+", help="compared with it, one by one")
    compare.add_argument("--metric", help="what is compared (default: test.accuracy)")
    compare.add_argument(
        "--margin",
        type=float,
        metavar="X",
        help="differences within ± X count as none (default: by the data set)",
    )
    compare.add_argument("--json", action="store_true", help="the comparisons in JSON")
    diff = add_service_command(
        commands,
        "diff",
        "show in what two experiments' specs differ",
        "lab diff exp_4k7z @last",
        _diff,
    )
    diff.add_argument("id", metavar="A", help=WHICH)
    diff.add_argument("other", metavar="B", help=WHICH)
    diff.add_argument(
        "--json", action="store_true", help="the differences in JSON, by path: [A, B]"
    )


def _compare(lab: Lab, options: argparse.Namespace) -> int:
    control, *others = (whole_id(lab, one, EXPERIMENT) for one in (options.id, *options.others))
    if control in others:
        raise Unusable(f"{control} would be compared with itself")
    found = [
        lab.compare(control, other, metric=options.metric, margin=options.margin)
        for other in others
    ]
    if options.json:
        output.show_json([one.raw for one in found])
        return EXIT_DONE
    for one in found:
        treatment, against = _title(one, "treatment"), _title(one, "control")
        print(output.plain(f"{treatment} against {against}: {one.sentence}"))
    print()
    output.show(output.table(COLUMNS, [_row(one) for one in found]))
    if not options.quiet:
        for one in found:
            for warning in one.warnings:
                output.say(output.plain(f"{_title(one, 'treatment')}: {warning}"))
    return EXIT_DONE


def _title(one: Comparison, side: str) -> str:
    return str(one.as_object(side).get("title") or one.as_object(side).get("experiment_id") or "")


def _row(one: Comparison) -> tuple[str, ...]:
    identifier = str(one.as_object("treatment").get("experiment_id") or "")
    title = _title(one, "treatment")
    return (
        identifier,
        "" if title == identifier else title,
        one.verdict.replace("_", " "),
        "" if one.difference is None else f"{one.difference:+.3g} {one.unit}".rstrip(),
        "" if one.ci95 is None else f"{one.ci95[0]:+.3g} to {one.ci95[1]:+.3g}",
        "" if one.p is None else f"{one.p:.3g}",
        str(len(one.seeds)),
    )


def _diff(lab: Lab, options: argparse.Namespace) -> int:
    a, b = (experiment_of(lab, one) for one in (options.id, options.other))
    found = a.diff(b)
    if options.json:
        output.show_json({path: list(values) for path, values in found.items()})
    elif found:
        columns = (("field", TEXT), (a.name or a.id, TEXT), (b.name or b.id, TEXT))
        rows = [
            (path, output.value_text(here), output.value_text(there))
            for path, (here, there) in found.items()
        ]
        output.show(output.table(columns, rows))
    elif not options.quiet:
        output.say("The specs are the same.")
    return EXIT_DONE
