"""`zonekeeper systemd`: the unit that runs the daemon under systemd, for a user or for the system, and its socket unit.

The unit is printed, not shipped: it names the command and the data directory of this installation, and needs no editing.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Final

from srv.config import PORT_DEFAULT, Settings
from srv.exits import Exit, StartFailedError
from srv.output import write_out

_SYSTEM_STATE: Final = Path("/var/lib/zonekeeper")
"""Data directory of a system's daemon: systemd makes it, and a user for it."""

_SERVICE: Final = """\
# Printed by `zonekeeper systemd`. Settings go into a drop-in, as Environment=ZONEKEEPER_...:
# systemctl {edit} zonekeeper
[Unit]
Description=Zonekeeper, which keeps the conversations of AI agents

[Service]
Type=notify
NotifyAccess=main
{start}
Restart=on-failure
RestartSec=5
# Wrong usage and a store that is refused stay as they are until somebody looks.
RestartPreventExitStatus={pointless}
# It stops within 5 seconds; whatever it has started, it ends itself.
TimeoutStopSec=10
KillMode=mixed
WatchdogSec=30
# The log goes to standard error; what a parent would read on standard output, systemd is told as well.
StandardOutput=null
StandardError=journal

UMask=0077
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectControlGroups=yes
ProtectKernelTunables=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
{more}
[Install]
WantedBy={target}"""

_SYSTEM_ONLY: Final = """
# What a user's own systemd cannot take away:
CapabilityBoundingSet=
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectProc=invisible
"""

_SOCKET: Final = """\
# Printed by `zonekeeper systemd --socket`. The first caller starts zonekeeper.service; whoever calls while that starts waits.
[Unit]
Description=Sockets of Zonekeeper

[Socket]
{listen}

[Install]
WantedBy=sockets.target"""


def systemd(options: argparse.Namespace, settings: Settings) -> int:
    """Print the unit of the service, or with `--socket` that of its sockets."""
    is_given = options.data_dir is not None or "ZONEKEEPER_DATA_DIR" in os.environ
    data_dir = settings.data_dir if is_given or not options.system else None
    owner = _owner(data_dir) if options.system and data_dir is not None else None
    if options.socket:
        write_out(_SOCKET.format(listen="\n".join(_listen(owner, is_system=options.system))))
        return Exit.STOPPED
    start = _system_start(data_dir, owner) if options.system else _user_start(settings.data_dir)
    unit = _SERVICE.format(
        edit="edit" if options.system else "--user edit",
        start="\n".join(start),
        pointless=" ".join(str(int(code)) for code in (Exit.WRONG_USAGE, Exit.STORE_REFUSED)),
        more=_SYSTEM_ONLY if options.system else "",
        target="multi-user.target" if options.system else "default.target",
    )
    write_out(unit)
    return Exit.STOPPED


def _user_start(data_dir: Path) -> list[str]:
    # Nothing but the data directory can be written, so it must be there before the daemon is: "+" makes it outside of that.
    make = f'ExecStartPre="+:{_in_unit(Path(shutil.which("mkdir") or "/bin/mkdir"))}" -p -m 0700 "{_in_unit(data_dir)}"'
    return [make, _exec_start(data_dir), f'ReadWritePaths="-{_in_unit(data_dir)}"']


def _system_start(data_dir: Path | None, owner: str | None) -> list[str]:
    if data_dir is None:
        state = [f"StateDirectory={_SYSTEM_STATE.name}", "StateDirectoryMode=0700"]
        return ["DynamicUser=yes", *state, _exec_start(_SYSTEM_STATE)]
    return [f"User={owner}", _exec_start(data_dir), f'ReadWritePaths="{_in_unit(data_dir)}"']


def _exec_start(data_dir: Path) -> str:
    # The colon: systemd puts no variables in.
    return f'ExecStart=":{_in_unit(_command())}" serve --data-dir "{_in_unit(data_dir)}"'


def _listen(owner: str | None, *, is_system: bool) -> list[str]:
    tcp = f"ListenStream=127.0.0.1:{PORT_DEFAULT}"
    unix = ["ListenStream=%t/zonekeeper.sock", "SocketMode=0600", "RemoveOnStop=yes"]
    if is_system:
        # Of a user that systemd makes up nobody could be the same one.
        return [tcp] if owner is None else [tcp, *unix, f"SocketUser={owner}"]
    return [tcp, *unix]


def _command() -> Path:
    """Find the installed command.

    Raises:
        StartFailedError: it is not installed.
    """
    scripts = Path(sysconfig.get_path("scripts"))
    for command in (Path(sys.argv[0]), scripts / "zonekeeper"):
        if command.name == "zonekeeper" and os.access(command, os.X_OK):
            return command.absolute()
    raise StartFailedError(Exit.FAILED, f"there is no command zonekeeper in {scripts}: install the package first")


def _owner(data_dir: Path) -> str:
    """Return the user that a data directory belongs to, whom the daemon then runs as.

    Raises:
        StartFailedError: it is not there, or is root's.
    """
    try:
        uid = data_dir.stat().st_uid
    except OSError as error:
        reason = f"{data_dir}: {error.strerror}; it must be there, since the daemon runs as the user it belongs to"
        raise StartFailedError(Exit.WRONG_USAGE, reason) from error
    if uid == 0:
        reason = f"{data_dir} belongs to root; give it to the user whom the daemon is to run as, with chown"
        raise StartFailedError(Exit.WRONG_USAGE, reason)
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _in_unit(path: Path) -> str:
    """Write a path as it stands between quotation marks in a unit.

    Raises:
        StartFailedError: it has characters that every directive takes in another way.
    """
    text = os.fspath(path)
    if not text.isprintable() or set(text) & set('"\\'):
        raise StartFailedError(
            Exit.WRONG_USAGE,
            f"{text!r} cannot stand in a unit: quotation marks, backslashes and control characters must not be in it",
        )
    return text.replace("%", "%%")
