"""The process that sends to webhooks, beside the API: `python -m app.sender`."""
