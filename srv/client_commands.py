"""The commands that call one method of the running daemon and show its result: `status` and `call`."""

from __future__ import annotations

import argparse

import orjson

from rpc.client import Client
from srv.calling import ask, client_command
from srv.config import Settings
from srv.escapes import escaped
from srv.exits import Exit
from srv.output import write_json, write_out
from srv.params import method_of, params_of
from srv.tables import facts, flattened


@client_command
async def status(client: Client, options: argparse.Namespace) -> None:
    """Show the result of `srv:status`, in words or as JSON."""
    result = await client.status()
    if options.json:
        write_json(result)
        return
    migrations = result.pop("migrations", {})
    groups = {name: members for name, members in result.items() if isinstance(members, dict)}
    alone = {name: value for name, value in result.items() if name not in groups}
    sections = [facts(list(flattened(members, name))) for name, members in (("", alone), *groups.items())]
    for name, found in migrations.items():
        outcome = escaped(str(found.pop("outcome", "")))
        sections.append([f"{escaped(name)}: {outcome}", *facts(list(flattened(found)), "  ")])
    write_out("\n\n".join("\n".join(section) for section in sections if section))


def call(options: argparse.Namespace, settings: Settings) -> int:
    """Call a method and print its result as JSON."""
    method, params = method_of(options), params_of(options)
    write_json(ask(settings, lambda client: client.call(method, None if params is None else orjson.Fragment(params))))
    return Exit.STOPPED
