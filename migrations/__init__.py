"""Alembic's migrations, applied by the service at start."""
