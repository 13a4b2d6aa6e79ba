"""Webhooks: who is told when something has ended, what is sent, to which addresses, how often, and by whom."""
