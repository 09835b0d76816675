"""The engine over SQLite: one file, one writing handle on one thread, several reading handles on others."""

from store.sqlite.engine import SqliteEngine, open_sqlite

__all__ = ["SqliteEngine", "open_sqlite"]
