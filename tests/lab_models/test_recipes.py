"""The recipes: complete, valid at both scales, and true to what their sources printed."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from lab_models.architectures.sizes import model_size
from lab_models.datasets.catalog import BUILT_IN
from lab_models.recipes import procedures
from lab_models.recipes.catalog import RECIPES, check, recipe
from lab_models.recipes.cell_checks import effective_specs, sizes_of, unnamed_differences
from lab_models.recipes.recipe import Better, Claim, NotMonotone, Reaches, Recipe, Trend
from lab_models.recipes.variants import variant
from lab_models.specs import AnySpec, DistillSpec, ExperimentRequest, MLPSpec, Trained
from lab_models.specs.base import UnknownName
from lab_models.studies.design import Design, cell_request
from lab_models.studies.designing import design_of
from lab_models.studies.request import read_study_request

ASKED_FOR = (
    "mlp-depth", "mlp-depth-as-coded", "mlp-residual", "mlp-residual-as-coded", "mlp-small", "cnn-blocks",
    "cnn-blocks-as-coded", "cnn-blocks-capped",
    "he-depth", "three-models", "gradients", "distill", "distill-as-coded", "distill-grid", "probe",
    "finetune", "hinton-mnist",
)  # fmt: skip

LITERAL = {2: 669_706, 4: 1_195_018, 6: 1_720_330, 8: 2_245_642, 10: 2_770_954}
AS_CODED = {2: 1_461_258, 4: 3_567_626, 6: 5_673_994, 8: 7_780_362, 10: 9_886_730}
BLOCKS = {
    "plain-1": 158_154, "residual-1": 158_154, "plain-5": 20_449_098, "residual-5": 20_886_090,
    "plain-10": 67_655_498, "residual-10": 69_408_330,
}  # fmt: skip
HE = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018}
PARAMETERS: dict[str, dict[str, int]] = {
    "mlp-depth": {f"depth-{depth}": count for depth, count in LITERAL.items()},
    "mlp-depth-as-coded": {f"depth-{depth}": count for depth, count in AS_CODED.items()},
    "mlp-depth-strong": {
        "depth-2": 671_754,
        "depth-4": 1_199_114,
        "depth-6": 1_726_474,
        "depth-8": 2_253_834,
        "depth-10": 2_781_194,
    },
    "mlp-residual": {
        f"{arm}-{depth}": LITERAL[depth] for depth in (6, 8, 10) for arm in ("plain", "residual")
    },
    "mlp-residual-as-coded": {
        f"{arm}-{depth}": AS_CODED[depth] for depth in (6, 8, 10) for arm in ("plain", "residual")
    },
    "mlp-small": {
        "mlp-small": 109_386,
        "mlp-small-50": 109_386,
        "residual-110": 136_300,
        "mlp-small-strong": 109_386,
    },
    "cnn-blocks": BLOCKS,
    "cnn-blocks-as-coded": BLOCKS,
    "he-depth": {
        f"{arm}-{depth}": count for depth, count in HE.items() for arm in ("plain", "residual")
    },
    "three-models": {"resnet18": 11_173_962},
    "distill": {"teacher": 11_181_642, "baseline": 700_458, "distilled": 700_458},
    "distill-as-coded": {"teacher": 11_181_642, "baseline": 700_458, "distilled": 700_458},
    "distill-grid": {"teacher": 11_181_642, "baseline": 700_458, "t-4-alpha-0.9": 700_458},
    "probe": {"source": 11_181_642, "linear-probe": 11_227_812},
    "finetune": {"source": 11_181_642, "full": 11_227_812, "scratch": 11_227_812},
    "hinton-mnist": {
        "teacher": 2_395_210,
        "baseline-800": 1_276_810,
        "distilled-800": 1_276_810,
        "baseline-30": 24_790,
        "distilled-30-t-4": 24_790,
    },
}

every_recipe = pytest.mark.parametrize("page", RECIPES.values(), ids=RECIPES.keys())


def test_every_table_that_is_asked_for_has_its_recipe() -> None:
    assert set(ASKED_FOR) <= set(RECIPES)
    assert all(name == page.name for name, page in RECIPES.items())


@every_recipe
def test_a_recipe_refers_to_nothing_that_is_not_there(page: Recipe) -> None:
    assert check(page) == []


@every_recipe
@pytest.mark.parametrize("scale", ["smoke", "full"])
def test_every_cell_is_a_valid_request_at_both_scales(page: Recipe, scale: str) -> None:
    specs = specs_of(designed(page, scale))
    assert list(specs) == [cell.key for cell in page.cells]
    for spec in specs.values():
        info = BUILT_IN[spec.dataset.name]
        assert model_size(spec.network, info.shape, info.num_classes).parameters > 0
    if scale == "full":
        assert specs == effective_specs(page)


@pytest.mark.parametrize("name", PARAMETERS)
def test_networks_have_the_parameters_that_the_lab_states(name: str) -> None:
    sizes = sizes_of(effective_specs(RECIPES[name]))
    assert {key: sizes[key].parameters for key in PARAMETERS[name]} == PARAMETERS[name]


@every_recipe
def test_two_arms_differ_in_nothing_but_what_their_contrast_names(page: Recipe) -> None:
    specs = effective_specs(page)
    for contrast in page.contrasts:
        assert unnamed_differences(contrast, specs) == []
        assert specs[contrast.treatment] != specs[contrast.control]


@every_recipe
def test_nothing_is_trained_twice(page: Recipe) -> None:
    specs = list(effective_specs(page).values())
    assert len({spec.model_dump_json() for spec in specs}) == len(specs)
    assert not any(
        cell.request.get("baseline") or cell.request.get("from_scratch") for cell in page.cells
    )


@every_recipe
def test_numbers_are_fractions_with_a_source_and_cells_repeat_the_printed_table(
    page: Recipe,
) -> None:
    printed = {text for table in page.published_tables for row in table.rows for text in row}
    for cell in page.cells:
        if cell.expected is not None:
            assert 0 < cell.expected.low < cell.expected.high < 1
            assert cell.expected.source.startswith(("measured", "literature", "estimate"))
        if cell.published is not None and (text := cell.published.printed) is not None:
            number = float(text.split()[0])
            value = {"%": number / 100, "error": 1 - number / 100, "errors": 1 - number / 10_000}[
                text.split()[-1]
            ]
            assert cell.published.value == pytest.approx(value, abs=1e-9)
            assert (
                not printed
                or page.name == "mlp-small"
                or text.removesuffix(" errors").removesuffix(" % error") in printed
            )
    for scale in page.scales.values():
        assert any(word in scale.cost_cpu for word in ("measured", "estimate"))
        assert any(word in scale.cost_gpu for word in ("measured", "estimate"))


@every_recipe
def test_claims_about_gradients_have_probed_cells_and_differences_their_learned_margin(
    page: Recipe,
) -> None:
    specs = effective_specs(page)
    for claim in page.claims:
        if claim.test.metric.startswith("gradient_flow."):
            assert all("gradient_flow" in specs[key].probes for key in cells_of(claim))
    learned = {
        spec.dataset.name
        for cell, spec in zip(page.cells, specs.values(), strict=True)
        if cell.num_seeds is None or len(page.cells) == 1
    }
    assert {page.margin_points} == {
        {"mnist": 0.15, "cifar10": 0.5, "cifar100": 1.0}[name] for name in learned
    }


def test_the_readme_of_depth_is_taken_to_the_letter() -> None:
    spec = effective_specs(recipe("mlp-depth"))["depth-6"]
    assert isinstance(spec.network, MLPSpec)
    assert (
        spec.dataset.val_fraction,
        spec.dataset.stratified,
        spec.dataset.augmentation.is_none,
    ) == (0.2, True, True)
    assert spec.optimizer.model_dump() == {
        "name": "adam",
        "learning_rate": 0.001,
        "weight_decay": 0.0,
    }
    assert (spec.schedule.name, spec.batch_size, spec.epochs, spec.early_stopping) == (
        "constant",
        64,
        10,
        None,
    )
    assert (spec.network.norm, spec.network.dropout, spec.network.widths) == (
        "none",
        0.0,
        (512,) * 6,
    )


def test_the_code_of_depth_has_what_the_readme_does_not_say() -> None:
    spec = effective_specs(recipe("mlp-depth-as-coded"))["depth-6"]
    assert isinstance(spec.network, MLPSpec)
    assert (spec.dataset.val_fraction, spec.dataset.stratified, spec.batch_size) == (
        0.1,
        False,
        128,
    )
    assert (spec.optimizer.weight_decay, spec.schedule.name) == (1e-4, "cosine")
    assert (spec.network.block, spec.network.norm, spec.network.dropout, spec.network.init) == (
        "inverted_bottleneck",
        "batch",
        0.2,
        "kaiming_fan_out",
    )


def test_the_two_recipes_of_cnn_blocks_differ_as_text_and_code_do() -> None:
    readme, coded, capped = (
        effective_specs(recipe(name))["residual-5"]
        for name in ("cnn-blocks", "cnn-blocks-as-coded", "cnn-blocks-capped")
    )
    assert readme.optimizer.model_dump() == {
        "name": "sgd",
        "learning_rate": 0.001,
        "momentum": 0.0,
        "nesterov": False,
        "weight_decay": 0.0,
    }
    assert coded.optimizer.model_dump() == {
        "name": "sgd",
        "learning_rate": 0.001,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 5e-4,
    }
    assert [getattr(spec.network, "dropout", None) for spec in (readme, coded)] == [0.0, 0.2]
    assert [spec.dataset.augmentation.is_none for spec in (readme, coded)] == [True, False]
    assert [spec.dataset.val_fraction for spec in (readme, coded)] == [0.2, 0.1]
    assert capped.network.model_copy(update={"max_halvings": None}) == coded.network


@pytest.mark.parametrize(
    ("name", "temperature", "alpha"), [("distill", 4.0, 0.9), ("distill-as-coded", 3.0, 0.5)]
)
def test_a_student_and_its_baseline_share_the_procedure_and_one_teacher(
    name: str, temperature: float, alpha: float
) -> None:
    specs = effective_specs(recipe(name))
    distilled, baseline = specs["distilled"], specs["baseline"]
    assert isinstance(distilled, DistillSpec)
    assert (distilled.temperature, distilled.alpha) == (temperature, alpha)
    assert distilled.teacher.spec == specs["teacher"]
    assert distilled.network == baseline.network
    assert distilled.dataset == baseline.dataset
    assert [cell.num_seeds for cell in recipe(name).cells] == [1, None, None]


def test_he_s_iterations_are_rounded_to_whole_epochs() -> None:
    steps = 45_000 / 128
    milestones = procedures.CIFAR_HE["schedule"]["milestones"]
    assert [round(thousands * 1000 / steps) for thousands in (32, 48, 64)] == [
        *(milestones[:1]),
        milestones[1] + 1,
        procedures.CIFAR_HE["epochs"],
    ]


def test_an_unknown_recipe_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match="there is no recipe 'mlp-deph'") as caught:
        recipe("mlp-deph")
    assert caught.value.hint == "did you mean 'mlp-depth'?"


def test_the_check_names_everything_that_is_wrong() -> None:
    page = recipe("distill")
    teacher, _, distilled = page.cells
    cells = (distilled, teacher.model_copy(update={"factors": {}}), teacher)
    full = page.scales["full"].model_copy(update={"overrides": {"epochs": 1}})
    assert check(page.model_copy(update={"cells": cells, "scales": {"full": full}})) == [
        "two cells are called 'teacher'",
        "contrast 'distilled' against 'baseline' names the cell 'baseline', which is none",
        "claim 'student-gains' names the cell 'baseline', which is none",
        "table 'Exercise 2.2, teacher and student' names the cell 'baseline', which is none",
        "cell 'teacher' has the factors [], and the recipe ['network', 'teacher']",
        "the scales are ['full'], not ['smoke', 'full']",
        "the full scale changes something: put it into the cells",
        "cell 'distilled' builds on 'teacher', which is no earlier cell",
    ]


def test_recipes_load_without_torch() -> None:
    program = "import lab_models.recipes.catalog, lab_models.recipes.linting, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


def designed(page: Recipe, scale: str) -> Design:
    return design_of(read_study_request({"recipe": page.name, "scale": scale}))


def specs_of(design: Design) -> dict[str, AnySpec]:
    specs: dict[str, AnySpec] = {}
    for cell in design.cells:
        request = cell_request(design, cell)
        if isinstance(request, ExperimentRequest):
            specs[cell.key] = request.spec
        else:
            assert request.reference.spec is not None
            specs[cell.key] = request.spec_with(
                Trained(spec=request.reference.spec, seed=request.reference.seed or 0)
            )
    return specs


def cells_of(claim: Claim) -> set[str]:
    match claim.test:
        case Better(contrasts=contrasts):
            return {key for pair in contrasts for key in pair}
        case Trend(cells=cells) | NotMonotone(cells=cells):
            return set(cells)
        case Reaches(cell=cell):
            return {cell}


def test_a_twin_has_the_pages_table_by_another_procedure_and_no_expectation_of_the_first() -> None:
    page = RECIPES["mlp-depth"]
    twin = variant(
        page,
        name="twin",
        procedure={"epochs": 3},
        cells={"depth-2": {"title": "two", "request": {"label_smoothing": 0.1}}},
        cost={"full": ("a day (estimate)", "an hour (estimate)")},
    )
    first, second = twin.cells[:2]
    assert first.request == {
        "epochs": 3,
        "model": page.cells[0].request["model"],
        "label_smoothing": 0.1,
    }
    assert (first.title, second.title) == ("two", page.cells[1].title)
    assert [cell.expected for cell in twin.cells] == [None] * 5
    assert twin.scales["full"].cost_gpu == "an hour (estimate)"
    assert (twin.claims, twin.contrasts, twin.scales["smoke"]) == (
        page.claims,
        page.contrasts,
        page.scales["smoke"],
    )


def test_a_twin_changes_nothing_that_its_page_does_not_have() -> None:
    page = RECIPES["mlp-depth"]
    with pytest.raises(ValueError, match="mlp-depth has no depth-3"):
        variant(page, procedure={}, cells={"depth-3": {"title": "three"}})
    with pytest.raises(ValidationError, match="titel"):
        variant(page, procedure={}, titel="a slip")


def test_the_seeds_that_decide_are_fixed_beforehand_and_said() -> None:
    planned = {name: RECIPES[name].scales["full"].seeds for name in RECIPES}
    assert {name: planned[name] for name in ("mlp-small", "mlp-depth", "mlp-residual")} == {
        "mlp-small": 10,
        "mlp-depth": 10,
        "mlp-residual": 10,
    }
    assert (planned["gradients"], planned["mlp-depth-strong"]) == (5, 5)
    for page in RECIPES.values():
        for name, scale in page.scales.items():
            design = designed(page, name)
            assert len(design.seeds) == scale.seeds
            plural = "" if scale.seeds == 1 else "s"
            said = f"{scale.seeds} seed{plural} of each cell, fixed beforehand: the look at all of them"
            assert f"{said} is decided at 4 %." in design.notes
            if f"{scale.seeds} seed" not in scale.description:
                assert "seed" not in scale.description, page.name
    other = {"recipe": "gradients", "seeds": 3, "final": True}
    notes = design_of(read_study_request(other)).notes
    assert (
        "3 seeds of each cell (the recipe's own number is 5), fixed beforehand: the look at all of them, the only one,"
        " is decided at 5 %." in notes
    )
