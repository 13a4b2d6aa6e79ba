"""When two specs train one and the same thing: what a spec says of a network that has no effect on it."""

from typing import assert_never

from lab_models.specs import (
    AnySpec,
    CNNSpec,
    ContinueSpec,
    DistillSpec,
    HeNetSpec,
    LayersSpec,
    MLPSpec,
    ModelSpec,
    ResNet18Spec,
    Trained,
    TrainSpec,
    TransferSpec,
    VGGSpec,
    fingerprint,
)


def effect_of(spec: AnySpec) -> str:
    """Names what the spec trains: two specs with one effect have the same weights and numbers, to the bit, with each
    seed. Equal specs have one; so have specs whose networks differ in fields without effect alone.

    It is the fingerprint of the spec without those fields, and no fingerprint of the spec itself.
    """
    match spec:
        case TrainSpec() | ContinueSpec():
            return fingerprint(_plain(spec))
        case DistillSpec():
            said = {"student": plain_network(spec.student), "teacher": _plain_trained(spec.teacher)}
            return fingerprint(spec.model_copy(update=said))
        case TransferSpec():
            source = spec.source
            if isinstance(source, Trained):
                source = _plain_trained(source)
            return fingerprint(spec.model_copy(update={"source": source}))
        case _:
            assert_never(spec)


def plain_network(model: ModelSpec) -> ModelSpec:
    """The same network, to the bit, said with as many defaults as can be."""
    # that the data set is of that kind is checked before, and nothing else comes of it
    plain = model.model_copy(update={"input_channels": None})
    match plain:
        case MLPSpec():
            return plain.model_copy(update=_idle_in_mlp(plain))
        case CNNSpec():
            # the first stage never halves
            most = len(plain.stage_widths) - 1
            is_idle = plain.max_halvings is not None and plain.max_halvings >= most
            return plain.model_copy(update={"max_halvings": None} if is_idle else {})
        case HeNetSpec() | ResNet18Spec() | VGGSpec() | LayersSpec():
            return plain
        case _:
            assert_never(plain)


def _idle_in_mlp(model: MLPSpec) -> dict[str, object]:
    """Shortcuts and blocks begin after the first hidden layer; without dropout it does not matter where it stands."""
    if len(model.widths) == 1:
        return {
            "residual": False,
            "shortcut_layers": 1,
            "block": "layer",
            "dropout_at": "every_hidden",
        }
    return {"dropout_at": "every_hidden"} if model.dropout == 0.0 else {}


def _plain(spec: TrainSpec | ContinueSpec) -> TrainSpec | ContinueSpec:
    if isinstance(spec, TrainSpec):
        return spec.model_copy(update={"model": plain_network(spec.model)})
    origin = spec.origin.model_copy(update={"spec": _plain(spec.origin.spec)})
    return spec.model_copy(update={"origin": origin})


def _plain_trained(trained: Trained) -> Trained:
    return trained.model_copy(update={"spec": _plain(trained.spec)})
