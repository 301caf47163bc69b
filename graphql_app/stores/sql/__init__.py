"""Stores in SQL databases: one set of statements for SQLite and PostgreSQL."""
