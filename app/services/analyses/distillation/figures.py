"""A distillation as a figure: loss and accuracy over epochs of teacher, baseline and distilled student."""

from sqlmodel import Session

from app.plots.figures.experiments import (
    COMPARISON_PANELS,
    ComparisonFigure,
    ComparisonPanel,
    Line,
)
from app.plots.series import Series
from app.services.analyses.distillation.outcomes import (
    Arm,
    ArmRole,
    DistillationOutcome,
    distill_spec,
    load_outcome,
    teachers_of,
)
from app.services.analyses.distillation.wording import sentence
from app.services.analyses.exhibits import Exhibit
from app.services.experiments import revisions
from app.services.experiments.metrics import curves_of
from app.storage.tables import Experiment
from lab_models.specs import FeatureSpec

SeriesByName = dict[tuple[str, str], Series]


def distillation_curves(
    session: Session, experiment: Experiment, panel: ComparisonPanel | None = None
) -> Exhibit[ComparisonFigure]:
    """Training loss, val loss and val accuracy of the three, or one panel alone; raises NotFound for an experiment of
    another kind.
    """
    distill_spec(experiment)
    taught_by = tuple(run.id for run in teachers_of(session, experiment))
    baseline_id = experiment.related.get("baseline")
    ids = [experiment.id, *([] if baseline_id is None else [baseline_id])]
    revision = revisions.of_experiments(session, ids, taught_by)
    return Exhibit(
        "distillation",
        (*taught_by, baseline_id, panel),
        revision,
        lambda: _figure(
            session,
            load_outcome(session, experiment),
            COMPARISON_PANELS if panel is None else (panel,),
        ),
    )


def _figure(
    session: Session, comparison: DistillationOutcome, panels: tuple[ComparisonPanel, ...]
) -> ComparisonFigure:
    features = comparison.features
    parts = ["hard_loss", "soft_loss", *([] if features is None else [f"{features.name}_loss"])]
    curves = curves_of(
        session,
        [[run.id for run in arm.runs] for arm in comparison.arms],
        ["loss", "accuracy", *parts],
    )
    found = dict(zip((arm.role for arm in comparison.arms), curves.groups, strict=True))
    return ComparisonFigure(
        title=comparison.name or comparison.experiment_id,
        subtitle=sentence(comparison) + (f" Shown: {curves.note}." if curves.note else ""),
        lines=[line for arm in comparison.arms for line in _lines(arm, found[arm.role], features)],
        labels={arm.role.value: _label(arm, found[arm.role]) for arm in comparison.arms}
        | {
            "soft": (
                "distilled, soft loss in training",
                f"T² · KL at T = {comparison.temperature:g}",
            ),
            "features": ("", "")
            if features is None
            else (
                f"distilled, {features.name} loss in training",
                f"as it counts, times {features.weight:g}",
            ),
            "total": (
                "distilled, total loss in training",
                f"{comparison.alpha:g} · soft + {1 - comparison.alpha:g} · hard"
                + ("" if features is None else f" + {features.weight:g} · {features.name}"),
            ),
        },
        epochs=max((run.epochs for arm in comparison.arms for run in arm.runs), default=1),
        panels=panels,
    )


def _lines(arm: Arm, found: SeriesByName, features: FeatureSpec | None) -> list[Line]:
    """One arm in the three panels. A student's `loss` in training is a mixture: its cross-entropy, which the others' is
    comparable with, is `hard_loss`.
    """
    wanted = {
        ("val_loss", arm.role.value): found.get(("val", "loss")),
        ("val_accuracy", arm.role.value): found.get(("val", "accuracy")),
    }
    total, hard = found.get(("train", "loss")), found.get(("train", "hard_loss"))
    if arm.role is not ArmRole.DISTILLED or hard is None:
        wanted = {("train_loss", arm.role.value): total, **wanted}
    else:
        beside = None if features is None else found.get(("train", f"{features.name}_loss"))
        parts = {"distilled": hard, "soft": found.get(("train", "soft_loss")), "total": total}
        # as it counts in the total
        parts["features"] = (
            None if beside is None or features is None else beside.times(features.weight)
        )
        wanted = {("train_loss", part): series for part, series in parts.items()} | wanted
    return [
        Line(panel, part, series) for (panel, part), series in wanted.items() if series is not None
    ]


def _label(arm: Arm, found: SeriesByName) -> tuple[str, str]:
    """Such as `baseline, mean and range of 5 runs`, and as its note the network."""
    begun = max((series.num_runs for series in found.values()), default=0)
    several = f", mean and range of {begun} runs" if begun > 1 else ""
    thin = ", thin where of fewer" if any(one.has_fewer for one in found.values()) else ""
    hard = "; in training its hard loss" if ("train", "hard_loss") in found else ""
    return f"{arm.role.value}{several}{thin}", f"{arm.network}{hard}"
