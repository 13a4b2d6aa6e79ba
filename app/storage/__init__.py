"""The database: its tables and the states in them, sessions, and the file where it is SQLite."""
