"""Pictures of a study's cells."""
