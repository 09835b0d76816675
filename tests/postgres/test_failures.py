"""PostgreSQL's errors in the store's words, by SQLSTATE."""

from __future__ import annotations

import asyncpg
import pytest

from store.errors import StorageDamagedError, StorageFullError, StorageUnavailableError
from store.postgres.failures import is_lost, is_retried, translated


@pytest.mark.parametrize(
    ("failure", "word"),
    [
        (asyncpg.DiskFullError("/secret"), StorageFullError),
        (asyncpg.DataCorruptedError("/secret"), StorageDamagedError),
        (asyncpg.IndexCorruptedError("/secret"), StorageDamagedError),
        (asyncpg.AdminShutdownError("/secret"), StorageUnavailableError),
        (asyncpg.CannotConnectNowError("/secret"), StorageUnavailableError),
        (asyncpg.TooManyConnectionsError("/secret"), StorageUnavailableError),
        (asyncpg.InvalidPasswordError("/secret"), StorageUnavailableError),
        (asyncpg.InvalidCatalogNameError("/secret"), StorageUnavailableError),
        (asyncpg.ReadOnlySQLTransactionError("/secret"), StorageUnavailableError),
        (asyncpg.IdleInTransactionSessionTimeoutError("/secret"), StorageUnavailableError),
        (asyncpg.DeadlockDetectedError("/secret"), StorageUnavailableError),
        (asyncpg.ConnectionDoesNotExistError("/secret"), StorageUnavailableError),
        (asyncpg.InterfaceError("/secret"), StorageUnavailableError),
        (asyncpg.InternalClientError("/secret"), StorageUnavailableError),
        (asyncpg.InvalidSQLStatementNameError("/secret"), StorageUnavailableError),
        (asyncpg.DuplicatePreparedStatementError("/secret"), StorageUnavailableError),
        (ConnectionRefusedError("/secret"), StorageUnavailableError),
        (TimeoutError("/secret"), StorageUnavailableError),
    ],
)
def test_an_error_has_the_store_s_word_and_none_of_its_own(failure: Exception, word: type[Exception]) -> None:
    """What the server says may hold paths and statements: it is kept as the cause, for the log."""
    with pytest.raises(word) as caught, translated("zone x"):
        raise failure
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is failure


def test_a_statement_that_is_wrong_is_a_fault_of_ours() -> None:
    """It is not said to be the database's, and shows in full in the log."""
    with pytest.raises(asyncpg.PostgresSyntaxError), translated("zone x"):
        raise asyncpg.PostgresSyntaxError("wrong")


@pytest.mark.parametrize("failure", [asyncpg.SerializationError("x"), asyncpg.DeadlockDetectedError("x")])
def test_who_met_another_tries_again(failure: Exception) -> None:
    """40001 and 40P01: the server has undone the transaction for the sake of another."""
    assert is_retried(failure)
    assert not is_lost(failure)


def test_a_server_that_goes_down_takes_the_connection_with_it() -> None:
    """57P01 and the like come before the connection is cut."""
    assert is_lost(asyncpg.AdminShutdownError("x"))
    assert is_lost(asyncpg.CrashShutdownError("x"))
    assert is_lost(asyncpg.IdleInTransactionSessionTimeoutError("x"))
    assert not is_lost(asyncpg.QueryCanceledError("x"))


def test_a_commit_whose_end_the_server_does_not_know_is_asked_about() -> None:
    """40003 is no refusal: the batch may have taken effect, and is looked up by its id."""
    assert is_lost(asyncpg.StatementCompletionUnknownError("x"))
    assert not is_retried(asyncpg.StatementCompletionUnknownError("x"))
