"""Migrating old data, beside SQLite that copies the same rows into a fresh database as durable as ours."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from bench import machine, processes, texts
from bench.rows import Row, alternate, at_least, rank, size
from bench.scale import KIB, Scale

_PART_BYTES: Final = 64 * KIB
_AGENTS: Final = 100
_BEGINNING_MS: Final = 1_779_580_800_000
_MADE: Final = ("db/zones.db", "db/zones.db-wal", "db/zones.db-shm")


def migration(scale: Scale, directory: Path) -> list[Row]:
    """Run `migrate` on the same old data again and again, and take off what it takes where there is nothing to do."""
    data_dir, empty = directory / "data", directory / "empty"
    empty.mkdir()
    _make_old_data(scale, data_dir)
    nothing = rank([_migrate(empty, 0) for _ in range(scale.rounds)], 0.5)
    ours, copied = alternate(
        scale.rounds,
        lambda: max(0.0, _migrate(data_dir, scale.migrated_blocks) - nothing),
        lambda: _copy(data_dir, directory),
    )
    name = f"migration of {scale.migrated_blocks:,} blocks of {size(scale.migrated_block_bytes)}"
    return [Row(name, "s", ours, copied, "INSERT … SELECT", at_least(0.5), faster_is_larger=True)]


def _migrate(data_dir: Path, blocks: int) -> float:
    """Migrate into a new store, and time the command as a whole."""
    shutil.rmtree(data_dir / "run", ignore_errors=True)
    for path in (*(data_dir / name for name in _MADE), *data_dir.glob("migration_*.flag")):
        path.unlink(missing_ok=True)
    command = processes.daemon_command("migrate", "--json", "--data-dir", str(data_dir))
    begin = time.perf_counter()
    done = subprocess.run(
        command, cwd=processes.ROOT, env=processes.environment(), check=False, capture_output=True, text=True
    )
    took = time.perf_counter() - begin
    if done.returncode or f'"archives_written": {blocks}' not in done.stdout:
        raise RuntimeError(f"not {blocks} blocks were migrated:\n{done.stdout}{done.stderr}")
    return took


def _copy(data_dir: Path, directory: Path) -> float:
    path = directory / "copied.db"
    begin = time.perf_counter()
    with machine.durable_database(path) as connection:
        connection.execute(machine.SQL["old_files"])
        connection.execute(machine.SQL["old_parts"])
        connection.execute(machine.SQL["attach_old"], (str(data_dir / "db" / "filestore.db"),))
        connection.execute("BEGIN")
        connection.execute(machine.SQL["copy_files"])
        connection.execute(machine.SQL["copy_parts"])
        connection.execute("COMMIT")
    took = time.perf_counter() - begin
    path.unlink()
    return took


def _make_old_data(scale: Scale, data_dir: Path) -> None:
    """Make the databases of an installation with that many agent panes, each with a snapshot and an output."""
    folder = data_dir / "db"
    folder.mkdir(parents=True)
    snapshot = texts.snapshot(scale.migrated_block_bytes // 4).encode()
    lines = "\n".join(texts.lines(0, (scale.migrated_block_bytes - len(snapshot)) // 500)).encode() + b"\n"
    with (
        machine.fast_database(folder / "objects.db") as objects,
        machine.fast_database(folder / "filestore.db") as files,
    ):
        objects.execute(machine.SQL["old_blocks"])
        files.execute(machine.SQL["old_files"])
        files.execute(machine.SQL["old_parts"])
        for number in range(scale.migrated_blocks):
            oid = f"block-{number:05}"
            meta = {"view": "agent", "agentId": f"agent-{number % _AGENTS:03}"}
            data = json.dumps({"oid": oid, "otype": "block", "version": 1, "meta": meta})
            objects.execute(machine.SQL["put_old_block"], (oid, data.encode()))
            for name, content in (("output", lines), ("output.state.json", snapshot)):
                _put_file(files, oid, name, content, _BEGINNING_MS + number * 60_000)


def _put_file(files: machine.Connection, zone: str, name: str, content: bytes, created_ms: int) -> None:
    files.execute(machine.SQL["put_old_file"], (zone, name, len(content), created_ms, created_ms + 1_000))
    for index in range(0, len(content), _PART_BYTES):
        part = (zone, name, index // _PART_BYTES, content[index : index + _PART_BYTES])
        files.execute(machine.SQL["put_old_part"], part)
