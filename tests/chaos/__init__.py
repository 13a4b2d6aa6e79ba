"""Random faults for a given time, then proof that nothing was lost, done twice, or done differently."""
