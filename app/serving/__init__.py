"""Starting processes: the API in this one, workers beside it."""
