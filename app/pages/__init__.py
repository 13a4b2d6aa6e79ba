"""The pages that a browser shows: HTML around what the API answers, and nothing that the API does not tell."""

from app.pages import (
    assets,
    class_page,
    comparing,
    datasets,
    documents,
    doors,
    experiment_page,
    exploring,
    lists,
    many,
    new,
    queue,
    recipes,
    session,
    study_pages,
)

ROUTERS = (
    session.router,
    doors.router,
    assets.router,
    lists.router,
    many.router,
    experiment_page.router,
    exploring.router,
    comparing.router,
    study_pages.router,
    recipes.router,
    queue.router,
    new.router,
    datasets.router,
    class_page.router,
    documents.router,
    doors.elsewhere,
)
