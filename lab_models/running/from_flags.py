"""`python -m lab_models train`: the flags of `lab train`, whose spec is trained here and now.

The flags are the client's, which needs nothing of the lab; so this module alone knows it.
"""

import argparse
import json
import sys
from typing import Any

from lab_models.running.options import add_machine
from training_lab.errors import Unusable
from training_lab.recipe_cells import chosen, recipe_and_cell
from training_lab.train_flags import (
    NUM_WORKERS_SAID,
    add_flags,
    given_flags,
    request_of,
    said_at,
)

EXIT_BAD_SPEC = 2
EXAMPLES = (
    "python -P -m lab_models train --model mlp --hidden 128,64 --dataset digits --epochs 20 --seeds 3",
    "python -P -m lab_models train --as three-models --model cnn --epochs 50 --batch-size 128 --lr 0.1",
)


def train(arguments: list[str]) -> int:
    """Train what the flags say; prints the results as JSON and returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        request = _request(options)
    except Unusable as error:
        print(error, file=sys.stderr)
        return EXIT_BAD_SPEC
    if options.num_workers is not None:
        print(NUM_WORKERS_SAID, file=sys.stderr)
    if options.print:
        print(json.dumps(request, indent=2, ensure_ascii=False))
        return 0
    # torch takes seconds to load, and neither help nor a wrong flag needs it
    from lab_models.running.reading import SpecSource, plan_of
    from lab_models.running.standalone import run_plan

    source = SpecSource("what the flags say", lambda pointer: said_at(pointer, options) or "/")
    return run_plan(
        lambda catalog: plan_of(request, source, catalog),
        options.out,
        options.device,
        options.threads,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab_models train",
        usage="python -P -m lab_models train [FLAG ...] [--as RECIPE] [--out FOLDER] [--print]",
        description="Train a network that flags describe, here and now; run it again to resume.",
        epilog="\n".join(("examples:", *EXAMPLES)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_machine(parser)
    add_flags(parser)
    return parser


def _request(options: argparse.Namespace) -> dict[str, Any]:
    """The request; raises Unusable where a recipe, a cell or a path is none."""
    if options.recipe is None:
        return request_of(options, {})
    # recipes need pydantic and all specs, which flags alone do not
    from lab_models.recipes.catalog import recipe
    from lab_models.specs.base import UnknownName

    name, cell = recipe_and_cell(options.recipe)
    try:
        page = recipe(name).model_dump(mode="json")
    except UnknownName as error:
        raise Unusable(f"{error}; {error.hint}") from error
    found = chosen(page, cell, given_flags(options))
    return request_of(options, found.request, found.chosen_by)
