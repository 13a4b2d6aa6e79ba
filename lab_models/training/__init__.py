"""Training one network: the loop and what it is made of, checkpoints, scores, and the events it tells."""
