"""The hands: claim a run, let the lab train it in a child process, record what it says. Never loads torch."""
