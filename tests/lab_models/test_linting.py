"""The linter: what it finds in the sources' own tables, and what it leaves alone."""

import pytest

from lab_models.recipes import cnn_blocks, distill, mlp_depth, mlp_residual
from lab_models.recipes.catalog import RECIPES, recipe
from lab_models.recipes.cell_checks import effective_specs, unnamed_differences
from lab_models.recipes.findings import Code, Finding
from lab_models.recipes.linting import lint, lint_recipe
from lab_models.recipes.published_tables import PrintedDifference, PublishedTable
from lab_models.recipes.recipe import Contrast, Expected, Recipe
from lab_models.recipes.table_checks import is_possible


def test_a_difference_that_does_not_follow_is_found_with_the_digit_that_was_likely_mistyped() -> (
    None
):
    (finding,) = of(Code.WRONG_DIFFERENCE, lint(mlp_residual.TABLE))
    assert finding.where == "Exercise 1.2, plain against residual by depth, row 8"
    assert (
        finding.message
        == "from 98.75 % to 92.68 % is -6.07 percentage points, and -0.07% is printed"
    )
    assert (
        finding.suggestion
        == "likely one digit: 98.68 in place of 92.68 gives the printed difference; "
        "92.75 in place of 98.75 or -6.07 in place of -0.07 would agree as well, but lie farther from the other rows"
    )


@pytest.mark.parametrize(
    ("treatment", "control", "printed", "wrong"),
    [
        ("98.60", "98.37", "+0.23", False),
        ("98.60", "98.37", "+0.24", False),  # both may have been rounded
        ("98.60", "98.37", "+0.25", True),
        ("98.37", "98.60", "+0.23", True),
        ("58.8", "44.0", "14.78", False),  # one decimal leaves room
        ("58.8", "44.0", "\u221214.8", True),
        ("n/a", "44.0", "14.8", False),
    ],
)
def test_a_difference_agrees_within_what_rounding_allows(
    treatment: str, control: str, printed: str, wrong: bool
) -> None:
    table = with_difference((("6", control, treatment, printed),))
    assert bool(of(Code.WRONG_DIFFERENCE, lint(table))) is wrong


def test_a_difference_that_no_single_digit_explains_is_referred_to_the_source() -> None:
    (finding,) = of(
        Code.WRONG_DIFFERENCE, lint(with_difference((("6", "10.00", "20.00", "+73.21"),)))
    )
    assert (
        finding.message == "from 10.00 to 20.00 is +10.00 percentage points, and +73.21 is printed"
    )
    assert finding.suggestion == "no change of a single digit makes the row agree; ask the source"


@pytest.mark.parametrize("table", [mlp_residual.TABLE, cnn_blocks.TABLE], ids=["mlp", "cnn"])
def test_percentage_points_printed_as_percent_are_named(table: PublishedTable) -> None:
    (finding,) = of(Code.POINTS_AS_PERCENT, lint(table))
    assert finding.suggestion == "write percentage points"
    assert all(row[3] in finding.message for row in table.rows)


@pytest.mark.parametrize(
    ("percent", "num_images", "possible"),
    [
        ("98.26", 6_000, False),
        ("98.64", 6_000, False),
        ("98.37", 6_000, True),
        ("98.82", 6_000, True),
        ("98.26", 12_000, True),
        ("98.26", 10_000, True),
        ("38.57", 5_000, False),
        ("38.58", 5_000, True),
        ("12.5", 8, True),
        ("12.4", 8, False),
        ("100", 3, True),
        ("33.3", 3, True),
        ("0.5", 1_000, True),
        ("0.05", 1_000, False),  # 0.5 of an image
        ("0.0", 3, True),
        ("", 7, True),
    ],
)
def test_a_percentage_is_possible_if_a_whole_number_of_images_gives_its_digits(
    percent: str, num_images: int, possible: bool
) -> None:
    assert is_possible(percent, num_images) is possible


def test_every_fraction_of_a_split_is_possible_as_it_is_rounded() -> None:
    for num_images in (7, 360, 5_000, 6_000):
        for correct in range(0, num_images + 1, max(1, num_images // 500)):
            assert is_possible(f"{100 * correct / num_images:.2f}", num_images)


def test_digits_rule_a_val_of_six_thousand_out_and_the_label_is_doubted() -> None:
    findings = lint(mlp_depth.TABLE)
    (impossible,) = of(Code.IMPOSSIBLE_DIGITS, findings)
    assert (
        impossible.message
        == "98.26 and 98.64 % cannot come from 6,000 images: no whole number of them gives these digits"
    )
    assert (
        impossible.suggestion == "all are possible on 12,000 images of val or 10,000 images of test"
    )
    (label,) = of(Code.SPLIT_LABEL, findings)
    assert label.message == "the table says val, and its digits rule out a val of 6,000 images"
    assert (
        label.suggestion
        == "scored on 12,000 images of val or 10,000 images of test: say which split each number is of"
    )


def test_digits_rule_a_val_of_five_thousand_out() -> None:
    findings = lint(cnn_blocks.TABLE)
    (impossible,) = of(Code.IMPOSSIBLE_DIGITS, findings)
    assert impossible.message.startswith(
        "38.57, 41.55, 61.39 and 78.05 % cannot come from 5,000 images"
    )
    assert impossible.suggestion == "all are possible on 10,000 images"
    assert [finding.message for finding in of(Code.SPLIT_UNSAID, findings)] == [
        "the table does not say which images were scored"
    ]
    assert of(Code.SPLIT_LABEL, findings) == []


def test_values_that_repeat_are_named() -> None:
    columns = ("Depth", "First", "Second", "Third")
    table = PublishedTable(
        columns=columns,
        rows=(
            ("1", "64.66", "15.73", "64.66"),
            ("3", "64.66", "15.74", "64.66"),
            ("5", "64.66", "15.75", "64.66"),
        ),
        split="test",
        num_images=(10_000,),
        accuracy_columns=columns[1:],
    )
    assert [finding.message for finding in of(Code.IDENTICAL_VALUES, lint(table))] == [
        "all 3 rows have 64.66 in column First",
        "all 3 rows have 64.66 in column Third",
        "columns First and Third have the same value in each of 3 rows",
    ]


def test_a_blank_table_is_named_as_blank() -> None:
    (finding,) = of(Code.BLANK_CELLS, lint_recipe(recipe("three-models")))
    assert (
        finding.message
        == "nothing is printed for MLP (Performance Metrics), CNN (Performance Metrics) and ResNet (Performance"
        " Metrics)"
    )


def test_a_printed_number_of_parameters_is_held_against_the_network() -> None:
    (finding,) = of(Code.WRONG_PARAMETERS, lint_recipe(recipe("distill")))
    assert finding == Finding(
        Code.WRONG_PARAMETERS,
        "Exercise 2.2, teacher and student, row Teacher",
        "11.8M parameters are printed, and the network has 11,181,642",
        "11.18M with a digit lost",
    )
    assert of(Code.WRONG_PARAMETERS, lint_recipe(recipe("he-depth"))) == []
    (other,) = lint(distill.TABLE, {"teacher": 11_800_000, "baseline": 711_000})
    assert (other.where, other.suggestion) == (
        "Exercise 2.2, teacher and student, row Student",
        "rounded alike it is 711.00K",
    )


def test_arms_with_different_numbers_of_parameters_are_named_in_one_finding() -> None:
    (finding,) = of(Code.UNMATCHED_PARAMETERS, lint_recipe(recipe("cnn-blocks-as-coded")))
    assert finding.where == "contrasts of model.residual"
    assert (
        finding.message
        == "parameters differ between the arms: residual, 5 blocks 20,886,090 against plain, 5 blocks 20,449,098 (+2.1"
        " %); residual, 10 blocks 69,408,330 against plain, 10 blocks 67,655,498 (+2.6 %)"
    )
    assert of(Code.UNMATCHED_PARAMETERS, lint_recipe(recipe("he-depth"))) == []
    assert of(Code.UNMATCHED_PARAMETERS, lint_recipe(recipe("mlp-residual"))) == []


def test_dead_weights_are_counted_and_the_capped_network_has_none() -> None:
    plain, residual = of(Code.DEAD_WEIGHTS, lint_recipe(recipe("cnn-blocks")))
    assert plain.where == "cell plain-10"
    assert plain.message.startswith(
        "41,156,608 of 67,655,498 weights (60.8 %) never get a gradient"
    )
    assert plain.suggestion == "set max_halvings to 4 or less"
    assert residual.message.startswith("41,156,608 of 69,408,330 weights (59.3 %)")
    assert of(Code.DEAD_WEIGHTS, lint_recipe(recipe("cnn-blocks-capped"))) == []


def test_a_teacher_with_fewer_epochs_than_its_student_is_named_once() -> None:
    (finding,) = of(Code.WEAK_TEACHER, lint_recipe(recipe("distill-as-coded")))
    assert finding.where == "cell teacher"
    assert (
        finding.message
        == "the teacher is trained for 20 epochs and the student for 100: the student may become the better of the two"
    )
    assert of(Code.WEAK_TEACHER, lint_recipe(recipe("distill-grid"))) == []


def test_a_teacher_that_is_smaller_or_expected_to_be_worse_is_named() -> None:
    page = recipe("distill")
    teacher, baseline, distilled = page.cells
    worse = teacher.model_copy(
        update={
            "request": {**teacher.request, "model": "resnet20"},
            "expected": Expected(low=0.90, high=0.92, source="estimate"),
        },
    )
    findings = of(
        Code.WEAK_TEACHER,
        lint_recipe(
            page.model_copy(update={"cells": (worse, baseline, distilled), "published_tables": ()})
        ),
    )
    assert [finding.message for finding in findings] == [
        "the teacher has 430,736 parameters fewer than the student",
        "the teacher is expected to reach at most 92 % and the student at least 94 %",
    ]


def test_a_contrast_that_hides_a_second_difference_is_named() -> None:
    page = recipe("mlp-residual")
    hidden = Contrast(treatment="residual-10", control="plain-6", factor="model.residual")
    (finding,) = of(
        Code.UNNAMED_DIFFERENCE, lint_recipe(page.model_copy(update={"contrasts": (hidden,)}))
    )
    assert finding.where == "residual-10 against plain-6"
    assert (
        finding.message
        == "the two arms are said to differ in model.residual, and differ in model.depth as well"
    )


def test_a_distilled_student_and_its_baseline_differ_in_the_teacher_alone() -> None:
    specs = effective_specs(recipe("distill"))
    said = Contrast(treatment="distilled", control="baseline", factor="teacher")
    unsaid = said.model_copy(update={"factor": "temperature"})
    assert unnamed_differences(said, specs) == []
    assert unnamed_differences(unsaid, specs) == ["teacher"]
    assert unnamed_differences(
        unsaid, {**specs, "baseline": specs["baseline"].model_copy(update={"epochs": 7})}
    ) == [
        "epochs",
        "teacher",
    ]


@pytest.mark.parametrize("page", RECIPES.values(), ids=RECIPES.keys())
def test_our_own_designs_hide_no_difference(page: Recipe) -> None:
    assert of(Code.UNNAMED_DIFFERENCE, lint_recipe(page)) == []


def of(code: Code, findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.code is code]


def with_difference(rows: tuple[tuple[str, ...], ...]) -> PublishedTable:
    return PublishedTable(
        columns=("Depth", "Plain", "Residual", "Improvement"),
        rows=rows,
        split="test",
        num_images=(10_000,),
        accuracy_columns=("Plain", "Residual"),
        differences=(
            PrintedDifference(column="Improvement", treatment="Residual", control="Plain"),
        ),
    )
