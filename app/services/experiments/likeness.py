"""What decides the result of a run: one list of facts, where each comes from, and how equal runs are told by it.
Whoever takes a run for another, holds one against another or says how a run was made asks here.

Beside the facts stand the spec, by its fingerprint, and the seed, which are no part of a run's environment.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from app.services.lifecycle.workers import kind_of_device
from lab_models.common.revision import RESULTS_VERSION

Environment = Mapping[str, Any]
"""What a run's record says of how it was made; see `lab_models.running.environment`."""

UNKNOWN: Final = object()
"""What a record does not say; a run of which something is not known is equal to none."""
WHOLE_BATCHES: Final = 1
NOT_OF_A_PLACE: Final = ("version", "git", "results_version", "python", "micro_batches")
BEFORE_RESUMING: Final = "before_resuming"
"""Key of an environment: compared facts that were others before a checkpoint was gone on from, by name."""


@dataclass(frozen=True)
class Fact:
    """Something that may change the bits of a result. `name` is its key in a run's environment, `label` what people
    call it.

    `compared` makes of an environment what equal runs have in common, or UNKNOWN; None for what is recorded and shown
    but not compared, because it changes no number, or rounding alone.
    """

    name: str
    label: str
    compared: Callable[[Environment], Any] | None = None


def _as_it_is(name: str) -> Callable[[Environment], Any]:
    def said(environment: Environment) -> Any:
        found = environment.get(name)
        return UNKNOWN if found is None else found

    return said


def minor_version(version: str | None) -> str | None:
    """`2.11` of `2.11.0+cpu`: releases that repair faults keep the kernels."""
    return None if version is None else ".".join(version.partition("+")[0].split(".")[:2])


def _torch(environment: Environment) -> Any:
    found = environment.get("torch")
    return minor_version(found) if isinstance(found, str) else UNKNOWN


def _kind_of_device(environment: Environment) -> Any:
    found = environment.get("device")
    return kind_of_device(found) if isinstance(found, str) else UNKNOWN


def _threads(environment: Environment) -> Any:
    """Where the CPU does the sums, in how many parts it adds them; on other devices they do not matter."""
    kind, found = _kind_of_device(environment), environment.get("threads")
    if kind is UNKNOWN:
        return UNKNOWN
    return _threads_that_matter(kind, UNKNOWN if found is None else found)


def has_learned_others(environments: Iterable[Environment | None], images: str | None) -> bool:
    """Whether one of the runs has learned other images than these, as far as both are known."""
    learned = {(one or {}).get("dataset_sha256") for one in environments}
    return images is not None and not learned <= {images, None}


def threads_on_a_cpu(environment: Environment) -> int | None:
    """How many threads have computed it last; None of what no CPU has computed, or does not say."""
    found = _threads(environment)
    return found if isinstance(found, int) else None


def _threads_that_matter(kind: str | None, threads: Any) -> Any:
    return threads if kind in (None, "cpu") else None


def _tf32(environment: Environment) -> Any:
    """Whether a GPU rounds what it multiplies; None of a CPU, and of records that were made before they said it."""
    return environment.get("tf32")


def _weights_built_on(environment: Environment) -> Any:
    """SHA-256 of the weights that were begun from or listened to, which covers all that those were made of; None where
    nothing was built on.
    """
    if "built_on" not in environment:
        return UNKNOWN
    below = environment["built_on"]
    return None if below is None else below.get("weights_sha256", UNKNOWN)


FACTS: Final = (
    Fact("version", "training-lab"),
    Fact("git", "revision"),
    Fact("results_version", "results version", _as_it_is("results_version")),
    Fact("python", "Python"),
    Fact("torch", "torch", _torch),
    Fact("device", "device", _kind_of_device),
    Fact("driver", "GPU driver"),
    Fact("cuda", "CUDA"),
    Fact("cudnn", "cuDNN"),
    Fact("capability", "compute capability"),
    Fact("multiprocessors", "multiprocessors"),
    Fact("tf32", "TF32", _tf32),
    Fact("threads", "threads", _threads),
    Fact("micro_batches", "parts of a batch", _as_it_is("micro_batches")),
    Fact("dataset_sha256", "images, SHA-256", _as_it_is("dataset_sha256")),
    Fact("built_on", "built on, SHA-256 of the weights", _weights_built_on),
)
"""All facts of an environment that may change bits, in the order in which people read them."""

LABELS: Final = {
    **{fact.name: fact.label for fact in FACTS},
    BEFORE_RESUMING: "what was otherwise before a checkpoint",
}


def conditions(environment: Environment) -> dict[str, Any]:
    """By name what of an environment equal runs have in common; UNKNOWN for what it does not say."""
    return {fact.name: fact.compared(environment) for fact in FACTS if fact.compared is not None}


def differences(first: Environment, second: Environment) -> dict[str, tuple[Any, Any]]:
    """In which facts two runs were made otherwise, compared or not: by name the first one's and the second one's. What
    was otherwise in the first part of a run, by `before_resuming`.
    """
    pairs = {fact.name: (_shown(first, fact), _shown(second, fact)) for fact in FACTS}
    pairs[BEFORE_RESUMING] = (first.get(BEFORE_RESUMING), second.get(BEFORE_RESUMING))
    return {name: (was, is_now) for name, (was, is_now) in pairs.items() if was != is_now}


def values_of(fact: Fact, environments: Iterable[Environment]) -> list[str]:
    """All values of a fact that occur, as people read them, each once."""
    shown = (_shown(environment, fact) for environment in environments)
    return list(dict.fromkeys(str(value) for value in shown if value is not None))


def _shown(environment: Environment, fact: Fact) -> Any:
    """As people see it: of what was built on the weights, since the same under another id are the same."""
    found = environment.get(fact.name)
    return found.get("weights_sha256") if isinstance(found, Mapping) else found


def resumed(earlier: Environment, now: Environment) -> dict[str, Any]:
    """The environment of a run that goes on from a checkpoint: today's, with what was otherwise before.

    It stays with the results version of its beginning, since what that has trained is in it.
    """
    was, is_now = conditions(earlier), conditions(now)
    known = [name for name in was if UNKNOWN not in (was[name], is_now[name])]
    before = {
        name: earlier[name]
        for name in known
        if was[name] != is_now[name] and name != "results_version" and name in earlier
    }
    before |= earlier.get(BEFORE_RESUMING, {})
    kept = {**now, "results_version": earlier.get("results_version")}
    return {**kept, BEFORE_RESUMING: before} if before else kept


def notes_of_resuming(earlier: Environment, now: Environment) -> list[str]:
    """What people are told of a run that goes on elsewhere than it was begun; nothing where neither device nor what
    else its bits hang on is another, as far as both say it. A new version of the code or of Python is none of that, and
    halved batches are noted by whoever halves them.
    """
    others = [
        f"{LABELS[name]} {was}, now {is_now}"
        for name, (was, is_now) in differences(earlier, now).items()
        if name not in (*NOT_OF_A_PLACE, BEFORE_RESUMING) and None not in (was, is_now)
    ]
    if not others:
        return []
    return [
        f"goes on under other conditions than before ({'; '.join(others)}): its bits are those of neither"
    ]


@dataclass(frozen=True)
class Platform:
    """What of the conditions hangs on where a run is trained; None for what is not known, and what does not matter
    there. Whether a GPU rounds to TF32 no worker says before it trains, only records do.
    """

    kind: str | None = None
    torch: str | None = None
    threads: int | None = None
    tf32: str | None = None

    @classmethod
    def of(cls, kind: str | None, torch: str | None, threads: int | None) -> "Platform":
        """By kind of device, full version and threads."""
        return cls(kind, minor_version(torch), _threads_that_matter(kind, threads))

    @classmethod
    def in_which(cls, environment: Environment) -> "Platform":
        """That of a run, as far as its record says it."""
        found = conditions(environment)
        return cls(
            *(
                None if found[name] is UNKNOWN else found[name]
                for name in ("device", "torch", "threads", "tf32")
            )
        )

    def covers(self, other: "Platform") -> bool:
        """Whether the other is what this one says, as far as it says it."""
        return (
            self.kind in (None, other.kind)
            and self.torch in (None, other.torch)
            and self.threads in (None, other.threads)
            and self.tf32 in (None, other.tf32)
        )


@dataclass(frozen=True)
class Record:
    """A run by all that decides its result. Records of older versions lack facts; see `whole`."""

    fingerprint: str
    seed: int
    environment: Environment

    @classmethod
    def whole(
        cls,
        fingerprint: str,
        seed: int,
        environment: Environment,
        *,
        needs: str | None,
        micro_batches: int | None,
    ) -> "Record":
        """With what an older record need not say: a run that needs no other is built on none, and batches were whole
        where they could not be halved. `micro_batches` is None where nothing says it.
        """
        known = dict(environment)
        if needs is None:
            known.setdefault("built_on", None)
        if micro_batches is not None:
            known.setdefault("micro_batches", micro_batches)
        return cls(fingerprint, seed, known)

    @property
    def platform(self) -> Platform:
        """Where it was trained, as far as that is known."""
        return Platform.in_which(self.environment)

    @property
    def is_certain(self) -> bool:
        """Whether it says everything, and was trained by the same conditions from beginning to end."""
        return UNKNOWN not in conditions(self.environment).values() and not self.environment.get(
            BEFORE_RESUMING
        )


@dataclass(frozen=True)
class Likeness:
    """What a run that is wanted has in common with those that are equal to it.

    `images` is the SHA-256 of the data set here; None where that is not prepared and any images will do. `built_on` is
    that of the weights that it would be built on; None where it is built on no run. `platforms` are those on which it
    may be trained now; where there is none, any will do. Batches are whole, since nobody knows whether they would have
    to be halved here.
    """

    fingerprint: str
    seed: int
    images: str | None = None
    built_on: str | None = None
    platforms: frozenset[Platform] = field(default_factory=frozenset)

    def is_met_by(self, record: Record) -> bool:
        """Whether the run's result is that of the one that is wanted. What a record does not say is met by nothing."""
        found = conditions(record.environment)
        return (
            record.is_certain
            and (record.fingerprint, record.seed) == (self.fingerprint, self.seed)
            and found["results_version"] == RESULTS_VERSION
            and found["micro_batches"] == WHOLE_BATCHES
            and self.images in (None, found["dataset_sha256"])
            and self.built_on == found["built_on"]
            and self.is_trained_on(record.platform)
        )

    def is_trained_on(self, platform: Platform) -> bool:
        """Whether it may be trained on such a platform now."""
        return not self.platforms or any(wanted.covers(platform) for wanted in self.platforms)
