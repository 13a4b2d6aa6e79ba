"""The service: experiments over HTTP, kept in a database. Never loads torch."""
