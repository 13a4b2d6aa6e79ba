"""From a valid request to experiments and queued runs, with whatever they build on."""
