"""Networks: closed-form sizes that need no torch, and the modules themselves."""
