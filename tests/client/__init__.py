"""The client, against the real service on loopback."""
