"""The engine over PostgreSQL: many equal daemons on one database, each with a writing connection and a few reading ones."""

from store.postgres.engine import PostgresEngine, open_postgres

__all__ = ["PostgresEngine", "open_postgres"]
