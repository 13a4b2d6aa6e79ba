"""What a study shows: tables, verdicts, figures and its report."""
