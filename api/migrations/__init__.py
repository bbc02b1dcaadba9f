"""Alembic migrations of the API's database; packaged, run at start."""
