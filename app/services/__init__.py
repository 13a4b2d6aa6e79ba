"""What the service can do. No HTTP, no broker; sessions come in, nothing is committed here."""
