"""The lab: image classifiers trained from a typed spec, usable alone or under the service."""
