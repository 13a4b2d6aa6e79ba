"""An order carried out as a process: alone from a spec file, or as a trainer that a worker supervises."""
