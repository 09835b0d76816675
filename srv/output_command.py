"""`zonekeeper output`: the lines of an output, page by page, and what is appended to it."""

from __future__ import annotations

import argparse

from rpc.client import Client
from srv.calling import ask
from srv.command_table import NUMBER_MAX
from srv.config import Settings
from srv.exits import Exit, StartFailedError
from srv.output import note, write_json, write_lines


def output(options: argparse.Namespace, settings: Settings) -> int:
    """Print the lines, and with `--follow` those that come, until Ctrl-C."""
    if options.tail is not None and options.first_line is not None:
        raise StartFailedError(Exit.WRONG_USAGE, "--tail and --first-line exclude each other")
    if options.follow and (options.archive is not None or options.limit is not None or options.json):
        raise StartFailedError(Exit.WRONG_USAGE, "--follow goes with neither --archive, --limit nor --json")
    try:
        ask(settings, lambda client: _print(client, options))
    except KeyboardInterrupt:
        if not options.follow:
            raise
    return Exit.STOPPED


async def _print(client: Client, options: argparse.Namespace) -> None:
    next_line, session_id = await _print_pages(client, options)
    if options.follow:
        async for line in client.follow(options.definition_id, first_line=next_line, session_id=session_id):
            write_lines([line])
        note("the session was archived")


async def _print_pages(client: Client, options: argparse.Namespace) -> tuple[int, str | None]:
    """Print what is there, a page at a time, so that memory does not grow with it.

    All of it is of the session that was found at first, whatever becomes current meanwhile.

    Returns:
        The number of the next line, and the session, None where there is none.
    """
    # Past the end of every output: no lines, but how many there are, and in which session.
    end = await client.read_output(options.definition_id, options.archive, first_line=NUMBER_MAX)
    if end.session_id is None:
        note(f"agent {options.definition_id} has no session")
    next_line = options.first_line or 0
    if options.tail is not None:
        next_line = max(0, end.total_lines - options.tail)
    last_line = NUMBER_MAX if options.limit is None else next_line + options.limit
    if options.json and next_line >= min(last_line, end.total_lines):
        write_json(end, indent=None)
    while next_line < min(last_line, end.total_lines):
        page = await client.read_output(
            options.definition_id,
            options.archive,
            first_line=next_line,
            limit=last_line - next_line,
            session_id=end.session_id,
        )
        if options.json:
            write_json(page, indent=None)
        else:
            write_lines(page.lines)
        next_line = page.next_line
    return next_line, end.session_id
