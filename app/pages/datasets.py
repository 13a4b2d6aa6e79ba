"""What can be learned from."""

from typing import Any

from fastapi import Request

from app.api.catalog.datasets import list_datasets
from app.api.http.deps import TheSettings
from app.pages.rendering import page, pages

router = pages()


@router.get("/datasets")
def show_datasets(request: Request, settings: TheSettings) -> Any:
    """The data sets that this service knows, and which of them are here."""
    return page(request, "datasets.html", datasets=list_datasets(settings).data)
