"""The engine over PostgreSQL: many equal daemons on one database, each with a writing connection and a few reading ones."""

from store.postgres.engine import PostgresEngine, open_postgres
from store.postgres.terms import Terms

__all__ = ["PostgresEngine", "Terms", "open_postgres"]
