"""Runs sent to a tracker, such as MLflow: as a client of the service, and of the tracker."""
