"""The labs' tables, each to be run by a button."""

from typing import Any

from fastapi import Request

from app.api.catalog.recipes import list_recipes
from app.api.http.deps import Reading, TheRecipeCosts, TheSpeeds
from app.pages.rendering import page, pages

router = pages()


@router.get("/recipes")
def show_recipes(
    request: Request, session: Reading, speeds: TheSpeeds, costs: TheRecipeCosts
) -> Any:
    """Every recipe with what it answers and what each scale of it takes here."""
    return page(request, "recipes.html", recipes=list_recipes(session, speeds, costs).data)
