"""What can be asked for: data sets and architectures."""

from fastapi import APIRouter

from app.api import schemas
from lab_models.architectures.sizes import model_size
from lab_models.datasets.catalog import all_datasets, dataset_info
from lab_models.specs import MLPSpec

router = APIRouter(tags=["catalog"])

MLP_EXAMPLES = (
    ("mnist", MLPSpec.model_validate({"depth": 2, "width": 512})),
    ("mnist", MLPSpec.model_validate({"depth": 10, "width": 512, "residual": True})),
    ("mnist", MLPSpec.model_validate({"hidden": [128, 64], "dropout": 0.2, "dropout_at": "last_hidden"})),
    ("digits", MLPSpec.model_validate({"depth": 2, "width": 64})),
)


@router.get("/datasets")
def list_datasets() -> schemas.DatasetList:
    """The data sets, with shapes, sizes and normalisation constants."""
    return schemas.DatasetList(
        data=[
            schemas.DatasetAnswer(
                name=info.name,
                title=info.title,
                shape=info.shape,
                num_classes=info.num_classes,
                class_names=list(info.class_names),
                num_train=info.num_train,
                num_test=info.num_test,
                mean=list(info.mean),
                std=list(info.std),
                statistics_source=info.statistics_source,
                source=info.source,
            )
            for info in all_datasets()
        ]
    )


@router.get("/architectures")
def list_architectures() -> schemas.ArchitectureList:
    """The architectures, with the JSON Schema of their specs and example sizes."""
    examples = []
    for dataset, model in MLP_EXAMPLES:
        info = dataset_info(dataset)
        size = model_size(model, info.shape, info.num_classes)
        examples.append(
            {
                "dataset": dataset,
                "model": model.model_dump(mode="json", exclude_none=True),
                "parameters": size.parameters,
                "macs_per_sample": size.macs_per_sample,
            }
        )
    title = "Multilayer perceptron, plain or residual"
    return schemas.ArchitectureList(data=[schemas.ArchitectureAnswer(name="mlp", title=title, json_schema=MLPSpec.model_json_schema(), examples=examples)])
