"""Where one can go from an experiment and from a run."""

from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run
from lab_models.explanations.question import Method, unexplainable
from lab_models.specs import read_spec

MOST_KNOWN = 10_000
"""Fingerprints of specs that are remembered."""
_without_maps: dict[str, bool] = {}
"""By fingerprint, whether the network cannot be explained."""


def run_links(run: Run) -> dict[str, str]:
    """From a run's record."""
    base = f"/runs/{run.id}"
    trained = (
        {
            "predict": f"{base}/predict",
            "predictions": f"{base}/predictions",
            "model": f"{base}/model.onnx",
            "model_folder": f"{base}/model.zip",
        }
        if run.status == RunStatus.SUCCEEDED
        else {}
    )
    written = {"log": f"{base}/log"} if run.attempt else {}
    files = {"metrics": f"{base}/metrics", "artifacts": f"{base}/artifacts"}
    return {"self": base, **files, **written, **trained}


def experiment_links(experiment: Experiment, origin: Experiment | None) -> dict[str, str]:
    """From an experiment's record; `origin` is the one that it is like, if that is there."""
    base = f"/experiments/{experiment.id}"
    probed = (
        {"gradient_flow": f"{base}/gradient-flow.png"}
        if "gradient_flow" in experiment.spec.get("probes", [])
        else {}
    )
    if experiment.spec.get("layer_gradients") is not None:
        probed |= {"layer_gradient": f"{base}/layer-gradient.png"}
    pictures = {"curves": f"{base}/curves.png", "confusion_matrix": f"{base}/confusion-matrix.png"}
    pictures |= {} if _has_no_maps(experiment) else {"explanations": f"{base}/explanations.png"}
    compared = {"distillation": f"{base}/distillation"} if experiment.kind == "distill" else {}
    compared |= {"verification": f"{base}/verification"} if "verifies" in experiment.related else {}
    compared |= {} if experiment.study_id is None else {"study": f"/studies/{experiment.study_id}"}
    gone_on_with = experiment.related.get("origin_experiment")
    compared |= {} if gone_on_with is None else {"origin": f"/experiments/{gone_on_with}"}
    compared |= {} if origin is None else {"like": f"/experiments/{origin.id}"}
    return {
        "self": base,
        "metrics": f"{base}/metrics",
        "network": f"{base}/network",
        **pictures,
        **probed,
        **compared,
        "notebook": f"{base}/notebook.ipynb",
        "reproduce": f"{base}/reproduce",
        "verify": f"{base}/verify",
        **{verb: f"{base}/{verb}" for verb in ("cancel", "pause", "resume", "retry")},
    }


def _has_no_maps(experiment: Experiment) -> bool:
    """Whether its network cannot be explained. Every spec of a fingerprint has the same, so it is read once."""
    known = _without_maps.get(experiment.fingerprint)
    if known is None:
        if len(_without_maps) >= MOST_KNOWN:
            _without_maps.clear()
        known = _without_maps[experiment.fingerprint] = (
            unexplainable(read_spec(experiment.spec).network, Method.GRAD_CAM) is not None
        )
    return known
