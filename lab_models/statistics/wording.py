"""How verdicts write numbers: signs always, no "-0.00", and as many decimals as the reader needs to see on which side a
number lies.
"""

from lab_models.statistics.looks import Look
from lab_models.statistics.paired import ALPHA, LEAST_P, Paired

MINUS = "\N{MINUS SIGN}"
NOTHING = 1e-9
"""A number below this is written as 0.00: one image in a test split of a million is 1e-6 as a fraction."""


def with_sign(number: float, decimals: int) -> str:
    """Such as +0.420; a negative one has a minus sign, not a hyphen."""
    return f"{number:+.{decimals}f}".replace("-", MINUS)


def signed(number: float) -> str:
    """Two decimals with the sign, more where two would hide it: +0.42, -0.003; 0 alone has no sign."""
    if abs(number) < NOTHING:
        return "0.00"
    decimals = 2
    while float(f"{number:.{decimals}f}") == 0:
        decimals += 1
    return with_sign(number, decimals)


def level(number: float) -> str:
    """A score: two decimals, more where fewer than three digits would count: 98.26, 0.0312."""
    if abs(number) < NOTHING:
        return "0.00"
    decimals = 2
    while abs(number) * 10**decimals < 100:
        decimals += 1
    return f"{number:.{decimals}f}"


def exact(margin: float) -> str:
    """A margin as it was chosen: 0.50, 0.125."""
    return f"{margin:.2f}" if round(margin, 2) == margin else f"{margin:.6g}"


def p_in_words(p: float, bound: float = ALPHA) -> str:
    """Such as `p = 0.017`."""
    text = p_text(p, bound)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def p_text(p: float, bound: float = ALPHA) -> str:
    """Two significant digits, more where two would move it across the bound: 0.050, 3.1e-07, < 1e-300."""
    if p <= LEAST_P:
        return "< 1e-300"
    digits = 2
    while (float(f"{p:.{digits}g}") < bound) != (p < bound):
        digits += 1
    return f"{p:#.{digits}g}"


def interval(bounds: tuple[float, float]) -> str:
    """Such as `95 % interval -0.08 to +0.16`."""
    return f"95 % interval {signed(bounds[0])} to {signed(bounds[1])}"


def measured(paired: Paired, unit: str, p_said: str | None = None) -> str:
    """Mean, interval, number of seeds and p of paired differences; their mean alone where there is no interval. Needs a
    pair.
    """
    assert paired.mean is not None
    mean = f"{signed(paired.mean)} {unit}"
    if paired.n == 1:
        return f"{mean} with the one paired seed"
    if paired.ci95 is None or paired.p_t is None:
        return f"{mean} with each of the {paired.n} paired seeds"
    return f"{mean}, {interval(paired.ci95)} over {paired.n} paired seeds, {p_said or p_in_words(paired.p_t)}"


def tested(p: float, p_adjusted: float | None, look: Look, n: int) -> str:
    """The p that decides and what it is held against: `p = 0.080 (Holm; 0.015 alone; level 4 %)`.

    The raw one stands beside the corrected one where the correction alone makes it miss its level.
    """
    bound = look.level(n) or ALPHA
    said = [] if p_adjusted in (None, p) else ["Holm"]
    if p_adjusted is not None and p < bound <= p_adjusted:
        said.append(f"{p_text(p, bound)} alone")
    return f"{p_in_words(p if p_adjusted is None else p_adjusted, bound)} ({'; '.join([*said, look.words(n)])})"


def duration(minutes: float) -> str:
    """Such as `about 12 minutes`, in hours from two hours on."""
    if minutes < 1:
        return "less than a minute"
    if minutes >= 120:
        return f"about {minutes / 60:.0f} hours"
    return f"about {minutes:.0f} minute{'' if round(minutes) == 1 else 's'}"
