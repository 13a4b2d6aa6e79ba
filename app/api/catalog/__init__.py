"""What there is to train with: architectures, data sets and recipes, over HTTP."""

from app.api.catalog import architectures, datasets, recipes

ROUTERS = (architectures.router, datasets.router, recipes.router)
