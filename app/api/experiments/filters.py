"""Which experiments, as a query says it: of lists, counts and of what is asked of many at once."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from app.services.experiments.filtering import NETWORKS, Filters
from app.services.owners.keys import Caller
from app.storage.states import RunStatus
from lab_models.common.validation import did_you_mean
from lab_models.specs import Kind
from lab_models.specs.request import LABEL_KEY


class FilterQuery(BaseModel):
    """Which experiments."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    status: list[RunStatus] = Field(default=[], max_length=len(RunStatus))
    """Only experiments with this status; given several times, with one of them."""
    kind: Kind | None = None
    """Only experiments of this kind."""
    label: list[str] = Field(default=[], max_length=20)
    """`key:value`; may be given several times, all must match."""
    study: str | None = Field(default=None, max_length=100)
    """Only the cells of this study."""
    owner: str | None = Field(default=None, max_length=100)
    """Only what belongs to this owner."""
    q: str | None = Field(default=None, min_length=1, max_length=100)
    """Only those whose name, id or label, written `key:value`, has this text in it; A to Z match a to z."""
    dataset: str | None = Field(default=None, max_length=100)
    """Only those on this data set."""
    network: str | None = Field(default=None, max_length=100)
    """Only those of this architecture, or whose network is exactly that of this preset."""
    fingerprint: str | None = Field(default=None, max_length=100)
    """Only those whose effective spec has this fingerprint."""
    created_after: AwareDatetime | None = None
    """Only those made from this moment on, such as `2026-01-31T08:00:00Z`."""
    created_before: AwareDatetime | None = None
    """Only those made before this moment."""
    ids: str | None = Field(default=None, max_length=10_000)
    """Only these, their ids separated by commas; one that is not there is left out."""
    archived: Literal["false", "true", "any"] = "false"
    """Only what is not archived, only what is, or both."""

    @field_validator("created_after", "created_before", mode="before")
    @classmethod
    def _is_a_moment(cls, value: object) -> object:
        if isinstance(value, str) and "-" not in value:  # a number would be taken for seconds
            raise ValueError("a moment with its zone, such as 2026-01-31T08:00:00Z")
        return value

    @field_validator("created_after", "created_before")
    @classmethod
    def _is_one_in_utc(cls, value: datetime | None) -> datetime | None:
        try:
            return None if value is None else value.astimezone(UTC)
        except OverflowError as error:
            raise ValueError("a moment that in UTC lies in the years 1 to 9999") from error

    @field_validator("label")
    @classmethod
    def _has_key_and_value(cls, value: list[str]) -> list[str]:
        return expect_labels(value)

    @field_validator("network")
    @classmethod
    def _is_a_network(cls, value: str | None) -> str | None:
        if value is not None and value.lower() not in NETWORKS:
            raise ValueError(did_you_mean(value, list(NETWORKS)) or f"one of {', '.join(NETWORKS)}")
        return value

    @field_validator("q", "dataset", "fingerprint", "ids")
    @classmethod
    def _has_no_null(cls, value: str | None) -> str | None:
        if value is not None and "\0" in value:
            raise ValueError("nothing here holds the character U+0000")
        return value

    def filters(self, caller: Caller) -> Filters:
        """The same for the service; of a caller who sees only their own things another's name finds nothing."""
        return Filters(
            statuses=tuple(self.status),
            kind=self.kind,
            labels=pairs_of(self.label),
            study_id=self.study,
            owner=self.owner,
            seen_by=None if caller.sees_all else caller.owner,
            text=self.q,
            dataset=self.dataset,
            network=None if self.network is None else self.network.lower(),
            fingerprint=self.fingerprint,
            created_after=self.created_after,
            created_before=self.created_before,
            ids=None if self.ids is None else tuple(self.ids.split(",")),
            archived={"false": False, "true": True, "any": None}[self.archived],
        )


def expect_labels(written: list[str]) -> list[str]:
    """Labels as they are asked for, `key:value` each; raises ValueError for what no label can be."""
    if not all(":" in label for label in written):
        raise ValueError("a label filter is written key:value")
    for key, value in pairs_of(written):
        if not LABEL_KEY.fullmatch(key):
            raise ValueError(
                f"no label has the key {key[:60]!r}: keys are 1 to 60 of A-Z, a-z, 0-9, '_', '.' and '-'"
            )
        if "\0" in value:
            raise ValueError("no label holds the character U+0000")
    return written


def pairs_of(written: list[str]) -> tuple[tuple[str, str], ...]:
    """Key and value of each."""
    return tuple((key, value) for key, _, value in (label.partition(":") for label in written))
