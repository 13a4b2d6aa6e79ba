"""The labs' tables as recipes: one page per table, nothing imperative. Nothing here loads torch."""
