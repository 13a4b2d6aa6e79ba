"""A body that changes another request: that of an experiment (`like`) or the one beside it, by dotted paths (`set`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pydantic import ConfigDict, Field, model_validator

from lab_models.common.validation import FieldError, InvalidDocument, pointer, validate
from lab_models.specs import ContinueRequest, Frozen, KeptWeights, Request, read_request
from lab_models.studies.overrides import with_overrides
from lab_models.studies.request import Overrides


class GoOn(Frozen):
    """To train the networks of the other experiment further, head included, on the same images."""

    epochs: int = Field(ge=1, le=100_000)
    """How many epochs more; they count from 1 again, and so does the learning-rate schedule."""
    weights: KeptWeights = "best"
    """The weights that are begun with: of the best epoch, which were tested, or of the last."""


class Again(Frozen):
    """A request made from another: what a body says of that. Fields of a request may stand beside, and replace what the
    other has.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "additionalProperties": True,
            "anyOf": [{"required": ["like"]}, {"required": ["set"]}],
        }
    )

    like: str | None = Field(default=None, max_length=100)
    """`exp_…`: what is not said here is as that experiment's request has it, with its seeds and labels."""
    set: Overrides = {}
    """Dotted paths and values, put into the request last, such as `{"optimizer.learning_rate": 0.01}`."""
    go_on: GoOn | None = None
    """With `like`: each run begins with the weights of that experiment's run of its seed, whose request it has with
    other `epochs`. The answer is of kind `continue`.
    """

    @model_validator(mode="after")
    def _something_goes_on(self) -> Self:
        if self.go_on is not None and self.like is None:
            raise ValueError("'go_on' goes with 'like', which says what goes on")
        return self


FIELDS: Final = frozenset(Again.model_fields)
PLACES_OF_GO_ON: Final = {"origin": "/like", "epochs": "/go_on/epochs"}
"""Where `go_on` says what stands in these fields of the whole request."""


@dataclass(frozen=True)
class ChangedRequest:
    """A request that is known once that of the experiment which it is like has been found; `beside` are the fields of a
    request that stand in the body as well.
    """

    again: Again
    beside: dict[str, Any]

    def document(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """The whole request: that of the other experiment, over it what stands beside, over all what is set. Raises
        InvalidDocument where a path leads nowhere.
        """
        return with_overrides({**self._gone_on(base), **self.beside}, self.again.set)

    def _gone_on(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """The request of the other experiment, or that which goes on with it."""
        wish = self.again.go_on
        if wish is None:
            return dict(base)
        kept = {name: value for name, value in base.items() if name in ContinueRequest.model_fields}
        origin = {"experiment": self.again.like, "weights": wish.weights}
        return {**kept, "kind": "continue", "origin": origin, "epochs": wish.epochs}

    def placed(self, fault: FieldError) -> FieldError:
        """A fault of the whole request where the person who sent the body can find it."""
        path = (
            fault.pointer.removeprefix("/").replace("/", ".").replace("~1", "/").replace("~0", "~")
        )
        paths = list(self.again.set)
        at = next((name for name in paths if _is_within(path, name)), None)
        if at is not None:
            within = fault.pointer.split("/")[at.count(".") + 2 :]
            return FieldError("/".join([pointer(["set", at]), *within]), fault.message, fault.hint)
        # a part that would not be there, or not like this, without what was set in it
        over = next((name for name in paths if path and _is_within(name, path)), None)
        if over is not None:
            return FieldError(pointer(["set", over]), fault.message, fault.hint)
        field, _, deeper = path.partition(".")
        if not field or field in {*self.beside, "seeds"} or self.again.like is None:
            return fault
        if self.again.go_on is not None and field in PLACES_OF_GO_ON:
            return FieldError(PLACES_OF_GO_ON[field], fault.message, fault.hint)
        message = (
            f"with these changes its request is none any more: {fault.pointer}: {fault.message}"
        )
        is_touched = deeper and any(_is_within(name, field) for name in paths)
        return FieldError(
            "/like", message, f"set {field!r} as a whole" if is_touched else fault.hint
        )


def read_changed(document: Any) -> Request | ChangedRequest:
    """A parsed body as the request that it is, or as one that changes another; raises InvalidDocument."""
    if not isinstance(document, dict) or FIELDS.isdisjoint(document):
        return read_request(document)
    said = {name: value for name, value in document.items() if name in FIELDS}
    beside = {name: value for name, value in document.items() if name not in FIELDS}
    again = validate(Again, said)
    if again.go_on is not None:
        said_twice = {"/epochs": "epochs" in beside, "/set/epochs": "epochs" in again.set}
        message = "'go_on' says how many epochs"
        faults = [FieldError(place, message) for place, is_there in said_twice.items() if is_there]
        if faults:
            raise InvalidDocument(faults)
    return ChangedRequest(again, beside)


def set_faults(error: InvalidDocument) -> list[FieldError]:
    """The faults of paths, where `set` has them."""
    return [FieldError("/set" + fault.pointer, fault.message, fault.hint) for fault in error.errors]


def _is_within(path: str, outer: str) -> bool:
    return path == outer or path.startswith(outer + ".")
