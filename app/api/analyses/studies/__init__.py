"""What a study shows, over HTTP: table, verdicts, pictures and report."""

from app.api.analyses.studies import pictures, report, tables, verdicts

ROUTERS = (pictures.router, report.router, tables.router, verdicts.router)
