"""What finished runs show: tables, verdicts, figures, predictions, and whether a second time gave the same."""
