"""How small p must be at a look, so that all looks at one difference together are wrong at most 5 times in 100.

Seeds are added, and results are read before all of them are there; whoever tests at 5 % each time finds something in
the end. So the number of seeds is fixed beforehand: the look at exactly these is decided at 4 %, and every other look,
however many there are, shares the remaining 1 % (docs/decisions/0029-looks-and-levels.md).
"""

from enum import StrEnum

from lab_models.statistics.paired import ALPHA

PLANNED_LEVEL = 0.04
"""Of the look at the number of seeds that was fixed beforehand."""

FURTHER_LEVEL = 0.0007
"""Of every other look at up to `STEADY_UNTIL` seeds."""

STEADY_UNTIL = 20
"""From this number of seeds on a further look's level falls as 1 / n."""


class Look(StrEnum):
    """Which look at a difference this is."""

    PLANNED = "planned"
    """All seeds that were planned are there, and no others."""
    FINAL = "final"
    """The same in a study that was sent with `final`: there is no other look."""
    PARTIAL = "partial"
    """Some planned seeds are still missing."""
    FURTHER = "further"
    """Seeds were added, or some of them had been seen before."""
    EARLY = "early"
    """Some seeds of a final study are still missing: its one look is to come."""
    SPENT = "spent"
    """The seeds were seen in a final study, whose one look has had all of the 5 %."""

    def level(self, n: int) -> float | None:
        """What p must be below with n seeds; None where nothing is decided."""
        match self:
            case Look.PLANNED:
                return PLANNED_LEVEL
            case Look.FINAL:
                return ALPHA
            case Look.PARTIAL | Look.FURTHER:
                return further_level(n)
            case Look.EARLY | Look.SPENT:
                return None

    def words(self, n: int) -> str:
        """The level as it stands behind a p."""
        match self:
            case Look.PLANNED | Look.FINAL:
                return f"level {percent(self.level(n))}"
            case Look.PARTIAL:
                return f"before the planned look, level {percent(self.level(n))}"
            case Look.FURTHER:
                return f"a further look, level {percent(self.level(n))}"
            case Look.EARLY:
                return "decided once, when all seeds have ended"
            case Look.SPENT:
                return "not decided again after a final study"

    def reservation(self, n: int) -> str:
        """Why a p below 5 % is not enough; empty where it is, or where nothing is decided by p."""
        match self:
            case Look.PLANNED:
                return "that is below 5 %, of which 1 % is kept for further looks"
            case Look.PARTIAL | Look.FURTHER:
                return (
                    "that is below 5 %, but all looks beside the planned one share 1 %, and this one is decided at"
                    f" {percent(self.level(n))}"
                )
            case _:
                return ""


def further_level(n: int) -> float:
    """The level of a look at n seeds beside the planned one: `FURTHER_LEVEL` up to 20 seeds, then falling as 20 / n.

    Found by simulation: of 400,000 sequences of normal differences without an effect, looked at by the t-test with 2,
    3, 4 … 1,000 seeds, 1.0 % are called significant at any look, 0.7 % by 20 seeds. A test draws anew.
    """
    return FURTHER_LEVEL * min(1.0, STEADY_UNTIL / max(n, 1))


def percent(level: float | None) -> str:
    """A level as people read it: `4 %`, `0.07 %`."""
    return "none" if level is None else f"{100 * level:.2g} %"
