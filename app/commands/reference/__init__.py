"""The tables of the documents, generated from the code: `python -m app.commands.reference docs/*.md`."""
