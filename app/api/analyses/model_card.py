"""What a model folder says of itself: its card, and what other programs read of the network."""

from dataclasses import dataclass
from typing import Any, Final

import yaml

from app.api.analyses.bundle_texts import NOTHING
from app.api.experiments.schemas import ExperimentRecord
from app.services.analyses.predicting.predictions import TrainedRun
from app.services.analyses.scores import ScoreKind
from app.storage.tables import Run
from app.tabulation import markdown_text, real_minus
from lab_models.architectures.naming import describe
from lab_models.architectures.pixels import as_seen
from lab_models.common.revision import package_version
from lab_models.datasets.catalog import notes_on
from lab_models.datasets.facts import DatasetInfo
from lab_models.datasets.references import REFERENCES, DatasetReference
from lab_models.specs import read_spec

WITHOUT_PYTORCH: Final = """import json, numpy, onnxruntime
from PIL import Image, ImageOps
about = json.load(open("preprocessing.json"))
image = ImageOps.fit(Image.open("image.png").convert("RGB"), about["size"], Image.Resampling.LANCZOS)
pixels = numpy.asarray(image.convert(about["mode"])).reshape(1, *about["size"][::-1], -1).transpose(0, 3, 1, 2)
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
probabilities = session.run(["probabilities"], {"images": pixels})[0][0]
print(json.dumps(dict(zip(json.load(open("classes.json")), probabilities.tolist()))))
"""
WITH_PYTORCH: Final = """import json
import torch
from lab_models.architectures.folders import open_folder
folder = open_folder(".")
images = folder.images(["image.png"])  # (N, C, H, W) float32, normalized
with torch.inference_mode():
    probabilities = folder.network(images).softmax(dim=1)[0]
print(json.dumps(dict(zip(folder.classes, probabilities.tolist()))))
"""
UNKNOWN_LICENSE: Final = (
    "No terms are known here: ask whoever has published the images before you pass anything on."
)

FILES: Final = {
    "`model.safetensors`": "the best epoch's weights by the names of PyTorch's modules; no code in it",
    "`model.onnx`": "network, weights, normalization: `images` (N, C, H, W) uint8 in, `logits` and `probabilities` out",
    "`config.json`": "the whole spec, the seed, the classes by number",
    "`classes.json`": "the classes' names, in the order of the logits",
    "`preprocessing.json`": "how an image file becomes what the network takes",
    "`metrics.csv`": "every number of every epoch of every seed",
    "`curves.svg`": "loss and accuracy over the epochs, mean and range over the seeds",
    "`LICENSE-DATA.md`": "what is known of the terms of the images that it has learned from",
    "`SHA256SUMS`": "`sha256sum -c SHA256SUMS` checks the others",
}


@dataclass(frozen=True)
class Described:
    """A run's network and everything that its folder says of it."""

    record: ExperimentRecord
    run: Run
    trained: TrainedRun

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.record.name or self.network}, seed {self.run.seed}"

    @property
    def network(self) -> str:
        """In words."""
        return describe(self.trained.network.model)

    @property
    def info(self) -> DatasetInfo:
        """Of what it has learned from."""
        return self.trained.network.dataset

    @property
    def reference(self) -> DatasetReference | None:
        """Of a built-in data set."""
        return None if self.info.imported else REFERENCES.get(self.info.name)


def config(described: Described) -> dict[str, Any]:
    """`config.json`: names as Hugging Face's tools read them, and the spec."""
    names = described.info.class_names
    run = described.run
    return {
        "model_type": described.trained.network.model.arch,
        "num_labels": len(names),
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
        "run_id": run.id,
        "experiment_id": run.experiment_id,
        "seed": run.seed,
        "best_epoch": (run.best or {}).get("epoch"),
        "fingerprint": described.record.fingerprint,
        "training_lab": package_version(),
        "spec": described.record.spec,
    }


def preprocessing(described: Described) -> dict[str, Any]:
    """`preprocessing.json`."""
    info = described.info
    seen = as_seen(described.trained.network.model, info)
    channels, height, width = info.shape
    return {
        "image_shape": [channels, height, width],
        "size": [width, height],
        "mode": "L" if channels == 1 else "RGB",
        "resize": "the middle is cut out in the wanted shape and scaled with a Lanczos filter",
        "ground": info.ground,
        "peak": info.peak,
        "rescale": "pixel / 255",
        "mean": list(seen.mean),
        "std": list(seen.std),
        "is_normalized_within_onnx": True,
    }


def license_note(described: Described) -> str:
    """`LICENSE-DATA.md`."""
    info, reference = described.info, described.reference
    terms = (
        UNKNOWN_LICENSE
        if reference is None or not reference.license
        else f"Terms: {reference.license}."
    )
    where = [] if info.imported else [f"From: {info.source}.", ""]
    return "\n".join(
        [
            f"# The images of {markdown_text(info.title)}",
            "",
            *where,
            terms,
            "",
            "The weights hold no image, and nobody has chosen a licence for them: whoever publishes them does.",
            "",
        ]
    )


def card(described: Described, missing: tuple[str, ...] = ()) -> str:
    """`README.md`. `missing` are files that could not be made."""
    record, info = described.record, described.info
    reference = described.reference
    cited = [] if reference is None else ["```bibtex", reference.bibtex.rstrip(), "```"]
    files = [f"| {name} | {has} |" for name, has in FILES.items() if name.strip("`") not in missing]
    return "\n".join(
        [
            f"---\n{_head(described)}---",
            "",
            f"# {markdown_text(described.title)}",
            "",
            f"{described.network}, {record.estimate.parameters:,} parameters: an image classifier with"
            f" {info.num_classes} classes.",
            "",
            "## Data",
            "",
            f"{markdown_text(info.title)}: {info.num_train:,} images of train and {info.num_test:,} of test,"
            f" {info.shape[2]} x {info.shape[1]} pixels. The spec in `config.json` says what part of train was val."
            " The terms of the images are in `LICENSE-DATA.md`.",
            "",
            *(f"- {markdown_text(note)}" for note in notes_on(info)),
            "",
            "## Procedure",
            "",
            *_procedure(described),
            "",
            "## Results",
            "",
            *_results(described),
            "",
            "## Limits",
            "",
            *_limits(described),
            "",
            "## Loading",
            "",
            "Without PyTorch, with `pip install onnxruntime pillow`:",
            "",
            f"```python\n{WITHOUT_PYTORCH}```",
            "",
            "With PyTorch, where the service's package `training-lab[lab]` is installed:",
            "",
            f"```python\n{WITH_PYTORCH}```",
            "",
            "## Files",
            "",
            "| file | has |",
            "|---|---|",
            *files,
            "",
            *(["## Citation", "", "The data set:", "", *cited, ""] if cited else []),
        ]
    )


def _head(described: Described) -> str:
    info = described.info
    test = described.record.results.get("test", {})
    metrics = [
        {"type": name, "value": score.mean, "name": f"test {name}, mean of {_seeds(score.n)}"}
        for name, score in test.items()
        if name in ("accuracy", "loss")
    ]
    results = [
        {
            "task": {"type": "image-classification"},
            "dataset": {"type": info.name, "name": info.title, "split": "test"},
            "metrics": metrics,
        }
    ]
    head = {
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", described.trained.network.model.arch],
        "datasets": [info.name],
        "metrics": ["accuracy"],
        "model-index": [{"name": described.title, "results": results if metrics else []}],
    }
    text: str = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=10_000)
    return text


def _procedure(described: Described) -> list[str]:
    spec, run = read_spec(described.record.spec), described.run
    environment = run.environment or {}
    best = (run.best or {}).get("epoch")
    built = described.record.kind != "train"
    said = [
        f"Kind: {described.record.kind}; every field is in `config.json`, whose `spec` is a body of POST /experiments.",
        f"{run.epochs_done} of at most {run.epochs} epochs; the weights are those of epoch {best}, which val chose.",
        f"Seed {run.seed} of {len(described.record.runs)}; {environment.get('device') or 'an unknown device'},"
        f" torch {environment.get('torch') or 'of an unknown version'}.",
    ]
    if built:
        said.append(
            "It builds on another network, which is described in the spec and is not in this folder."
        )
    said.append(
        f"Fingerprint of the spec: `{described.record.fingerprint[:16]}`; data set: `{spec.dataset.name}`."
    )
    return [f"- {line}" for line in said]


def _results(described: Described) -> list[str]:
    test, own = described.record.results.get("test", {}), described.run.test or {}
    count = max((score.n for score in test.values()), default=0)
    lines = [
        f"On test, which was read once, after training. Mean over {_seeds(count)} with Student's 95 % interval of it,"
        " and this seed's own.",
        "",
        "| score | mean | 95 % interval | n | this seed |",
        "|---|---:|---|---:|---:|",
    ]
    for name, score in test.items():
        ends = score.ci95 and ScoreKind(f"test.{name}").cut(score.ci95)
        interval = NOTHING if ends is None else f"{ends[0]:.4f} to {ends[1]:.4f}"
        mine = f"{own[name]:.4f}" if name in own else NOTHING
        lines.append(real_minus(f"| {name} | {score.mean:.4f} | {interval} | {score.n} | {mine} |"))
    return lines


def _limits(described: Described) -> list[str]:
    count, total = (
        max((score.n for score in described.record.results.get("test", {}).values()), default=0),
        len(described.record.runs),
    )
    lines = [
        f"- It answers with one of its {described.info.num_classes} classes whatever the image shows, and has learned"
        " from images of this data set alone.",
        "- Probabilities are softmax of the logits; how well they are calibrated is among the scores above.",
        "- Another machine may round differently: logits agree to about 1e-5.",
        "- The intervals are over seeds on these splits, not over other images.",
    ]
    if count < 2:
        lines.append("- One seed has no interval: how much is chance is not known.")
    if count < total:
        lines.append(f"- {total - count} of {total} seeds had no result when this folder was made.")
    return lines


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count != 1 else ''}"
