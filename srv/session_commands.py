"""The commands that look at sessions, and `archive`: each one call of the running daemon, or few."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from typing import Any, Final

from rpc.client import Client
from srv.calling import client_command
from srv.output import counted, is_terminal, note, size_in_words, write_json, write_lines, write_out, write_stored
from srv.tables import age_in_words, facts, table

_AGENTS: Final = ("agent", ">snapshot", ">revision", ">output", ">lines", ">archives", ">changed")
_LIMIT: Final = 20
_ARCHIVES: Final = ("archived at", ">age", ">size", ">lines", "preview")


@client_command
async def read(client: Client, options: argparse.Namespace) -> None:
    """Print a snapshot as it is stored."""
    if options.archive is None:
        snapshot = await client.read(options.definition_id)
    else:
        snapshot = await client.read_archive(options.definition_id, options.archive)
    if options.json:
        # Without the `unchanged` of a record, which is of the wire only where a revision was asked about.
        write_json({name: getattr(snapshot, name) for name in ("content", "modts", "revision", "session_id")})
    elif snapshot.content is None:
        note(f"agent {options.definition_id} has no {'session' if snapshot.session_id is None else 'snapshot'}")
    else:
        write_stored(snapshot.content)


@client_command
async def mount(client: Client, options: argparse.Namespace) -> None:
    """Print the facts of a session and the lines that its snapshot does not cover."""
    mounted = await client.mount(options.definition_id, options.tail)
    if options.json:
        write_json(mounted)
        return
    rows = [("session_id", mounted.session_id or "none")]
    snapshot, output = mounted.snapshot, mounted.output
    if snapshot is None:
        rows.append(("snapshot", "none"))
    else:
        size, age = size_in_words(len(snapshot.content.encode())), age_in_words(snapshot.modts, _now_ms())
        rows.append(("snapshot", f"{size}, revision {snapshot.revision}, changed {age} ago"))
        rows.append(("covers", "none" if snapshot.covers_line is None else counted(snapshot.covers_line, "line")))
    rows.append(("output", f"{counted(output.total_lines, 'line')}, {size_in_words(output.size_bytes)}"))
    rows.append(("shown", f"{counted(len(output.lines), 'line')}, from line {output.first_line} on"))
    write_out("\n".join(facts(rows)) + "\n")
    write_lines(output.lines)


@client_command
async def archive(client: Client, options: argparse.Namespace) -> None:
    """Archive the current session."""
    archived = await client.archive(options.definition_id, options.session_id)
    if options.json:
        write_json(archived)
    elif archived.archived_at_ms is None:
        write_out("there is nothing to archive")
    else:
        write_out(f"archived at {archived.archived_at_ms}")


@client_command
async def list_archives(client: Client, options: argparse.Namespace) -> None:
    """List the archives of an agent, newest first."""
    wanted = options.limit or _LIMIT
    rows = await client.list_archives(options.definition_id, wanted, options.before)
    # The wire has a maximum of its own for one answer.
    while rows and len(rows) < wanted:
        more = await client.list_archives(options.definition_id, wanted - len(rows), rows[-1].archived_at_ms)
        if not more:
            break
        rows += more
    if options.json:
        write_json(rows)
        return
    if not rows:
        note(f"agent {options.definition_id} has no archives{'' if options.before is None else ' older than that'}")
        return
    now_ms = _now_ms()
    cells = [
        (
            str(row.archived_at_ms),
            age_in_words(row.archived_at_ms, now_ms),
            size_in_words(row.size_bytes),
            str(row.total_lines),
            "(not yet known)" if row.preview is None else row.preview,
        )
        for row in rows
    ]
    write_out(table(_ARCHIVES, cells))
    if is_terminal() and len(rows) == wanted:
        write_out(f"\nolder ones: --before {rows[-1].archived_at_ms}")


@client_command
async def agents(client: Client, options: argparse.Namespace) -> None:
    """List the agents that have a session."""
    page = await client.list_agents(options.limit, options.after)
    rows, following = page.agents, page.next
    while following is not None and (options.limit is None or len(rows) < options.limit):
        left = None if options.limit is None else options.limit - len(rows)
        page = await client.list_agents(left, following)
        rows, following = rows + page.agents, page.next
    if options.json:
        write_json({"agents": rows, "next": following})
    elif not rows:
        note("no agent has a session")
    else:
        write_out(table(_AGENTS, _agent_cells(rows)))
        if is_terminal() and following is not None:
            write_out(f"\nmore: --after {following}")


@client_command
async def stat(client: Client, options: argparse.Namespace) -> None:
    """Describe agents by sizes and counts."""
    rows = await client.stat(options.definition_ids)
    if options.json:
        write_json(rows)
    else:
        write_out(table(_AGENTS, _agent_cells(rows)))


def _agent_cells(rows: Iterable[Any]) -> list[tuple[str, ...]]:
    now_ms = _now_ms()
    return [
        (
            row.definition_id,
            *(("-", "-") if row.revision is None else (size_in_words(row.snapshot_bytes), str(row.revision))),
            size_in_words(row.output_bytes),
            str(row.total_lines),
            str(row.archives),
            age_in_words(row.modts, now_ms),
        )
        for row in rows
    ]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
