"""The daemon over the shim: a process that puts the layer in and then runs `zonekeeper serve`, and a handle on it.

    ZONEKEEPER_SHIM_FOLDER=FOLDER python -m tests.faults.shim_daemon serve --data-dir DIR …

In the folder are `recording`, `faults` (see `tests.faults.shim`) and `changed`, a JSON object of constants that are to
be others than the product's.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from srv.cli import main
from store.sqlite import handles, log
from tests.faults.shim import Fault, Shim, put_in
from tests.srv.daemon import ROOT, Daemon, environment_with

_FOLDER: Final = "ZONEKEEPER_SHIM_FOLDER"


class ShimDaemon(Daemon):
    """A running daemon with the shim below it.

    Attributes:
        folder: where its recording is.
    """

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        """As `Daemon`, but no sockets are handed over to it; the environment comes from `shim_environment`."""
        assert environment is not None
        assert not sockets
        self.data_dir = data_dir
        self.folder = Path(environment[_FOLDER])
        self.said: list[dict[str, Any]] = []
        self.ready: dict[str, Any] = {}
        self.token = ""
        self._log: list[str] = []
        self._log_grew = threading.Condition()
        command = (sys.executable, "-m", __name__, "serve", "--data-dir", str(data_dir), "--port", "0", *arguments)
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment_with(environment),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    @property
    def recording(self) -> Path:
        """The file in which everything is recorded."""
        return self.folder / "recording"

    def put_in(self, *faults: Fault) -> None:
        """Have these faults met from now on, and no others."""
        put_in(self.folder / "faults", *faults)


def shim_environment(folder: Path, *faults: Fault, **changed: int) -> dict[str, str]:
    """Prepare a folder for a daemon, and return the environment that names it.

    Args:
        folder: made where it is not there. A recording that is there is gone on with.
        faults: to be met from the start.
        changed: constants of the product that are to be others, by the names in `_change`.
    """
    folder.mkdir(exist_ok=True)
    put_in(folder / "faults", *faults)
    (folder / "changed").write_text(json.dumps(changed), encoding="utf-8")
    return {_FOLDER: str(folder)}


def _change(name: str, value: int) -> None:
    """Set a constant of the product: a small store passes a checkpoint, a cut of the log or a full cache sooner."""
    if name == "checkpoint_bytes":
        assert hasattr(log, "_CHECKPOINT_BYTES")
        log._CHECKPOINT_BYTES = value  # type: ignore[misc]  # a constant to everyone but this process
        return
    settings = next(each for each in (handles._SHARED, handles._WRITING) if name in each)
    settings[name] = value


def _main(arguments: list[str]) -> int:
    folder = Path(os.environ.pop(_FOLDER))
    for name, value in json.loads((folder / "changed").read_bytes()).items():
        _change(name, value)
    store = Path(arguments[arguments.index("--data-dir") + 1]) / "db" / "zones.db"
    Shim(store, folder / "recording", folder / "faults").install()
    return main(arguments)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
