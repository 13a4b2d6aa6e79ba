"""Pictures of one experiment, and of two or three side by side."""
