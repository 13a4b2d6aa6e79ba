"""Stand-ins for a GPU that is not there: NVIDIA's tool and its driver's library."""
