"""Finds a running daemon: what it leaves in its data directory for its clients, and where that directory is.

<data_dir>/run/srv.json    where it listens, and where its tokens and its certificate are
"""

from __future__ import annotations

import fcntl
import os
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
import platformdirs

from rpc.errors import NoDaemonError, TransportError
from rpc.proof import TOKEN_CHARACTERS_MIN
from store.errors import quote

RUN_FILE: Final = "run/srv.json"
LOCK_FILE: Final = "run/lock"

_LISTENER: Final = re.compile(r"https?://[0-9A-Za-z.:\[\]-]+")
"""What a daemon leaves as its URL: it goes into a line for a shell as well."""

_LEFT_TOKEN: Final = re.compile(rf"[A-Za-z0-9_-]{{{TOKEN_CHARACTERS_MIN},}}")
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a daemon listens, and what it takes to speak to it.

    Attributes:
        url: of its TCP port, without a path. Over a Unix socket its host only fills a header.
        token: what its TCP port asks for; None where the connection goes to a Unix socket.
        unix_socket: path of its Unix socket; if given, connections go there.
        certificate: the only one to trust at an https URL, as PEM.
        tls: whom to trust instead; None, where there is no certificate either, for whom the system trusts.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    unix_socket: str | Path | None = None
    certificate: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        """Refuse what is no URL.

        Raises:
            ValueError: it is none.
        """
        if not _is_url(self.url):
            raise ValueError(f"url must be like http://127.0.0.1:8377, got {quote(self.url)}")


@dataclass(frozen=True, slots=True)
class RunFile:
    """What `run/srv.json` holds, as far as a client needs it.

    Attributes:
        url: of the TCP port, without a path.
        unix_socket: path of the Unix socket, None where there is none.
        token_file: path of the file that holds the token, None where a parent gave it.
        tls_cert: path of the certificate where the port speaks TLS.
    """

    url: str
    unix_socket: str | None
    token_file: str | None
    tls_cert: str | None = None


def _is_url(text: str) -> bool:
    try:
        parsed = urlsplit(text)
        return parsed.scheme in {"http", "https"} and bool(parsed.hostname) and parsed.port != 0
    except ValueError:
        return False


def default_data_dir() -> Path:
    """Return the directory of the data where none was named: the platform's user data directory."""
    return platformdirs.user_data_path("zonekeeper", appauthor=False)


class Discovery:
    """Finds the daemon of one data directory, as often as it is asked.

    Attributes:
        data_dir: the directory.
    """

    def __init__(self, data_dir: Path | None = None, token: str | None = None) -> None:
        """Look in one data directory.

        Args:
            data_dir: None for the one that ZONEKEEPER_DATA_DIR names, else the platform's.
            token: None for the one that the daemon left in a file, or that ZONEKEEPER_TOKEN holds where a parent gave it.
        """
        self.data_dir = data_dir or _named_data_dir() or default_data_dir()
        self._token = token

    def find(self) -> Address:
        """Find the daemon. Only a call shows whether it lives: one that was killed is found as well.

        Raises:
            NoDaemonError: there is none.
            TransportError: there is one, and what it left cannot be read.
        """
        facts = self.run_file()
        try:
            if (
                facts.unix_socket is not None
            ):  # who listens there asks for no token, and has not proved to be the daemon
                return Address(facts.url, None, facts.unix_socket)
            return Address(facts.url, self._token or self._left_token(facts), certificate=_certificate(facts))
        except ValueError as error:
            raise TransportError(f"{self.data_dir / RUN_FILE} cannot be understood") from error

    def run_file(self) -> RunFile:
        """Read what the daemon left for its clients. Raises as `find` does."""
        path = self.data_dir / RUN_FILE
        text = _read(path)
        if text is None:
            raise NoDaemonError(self.data_dir)
        try:
            facts = msgspec.json.decode(text, type=RunFile)
        except (msgspec.DecodeError, ValueError) as error:
            raise TransportError(f"{path} cannot be understood") from error
        if not _LISTENER.fullmatch(facts.url):
            raise TransportError(f"{path} cannot be understood")
        return facts

    def _left_token(self, facts: RunFile) -> str:
        if facts.token_file is not None:
            token = _read(Path(facts.token_file))
            if token is not None:
                return _checked(token.strip(), facts.token_file)
            if not _is_held(self.data_dir):
                raise NoDaemonError(self.data_dir)
            raise TransportError(
                f"a daemon runs on {self.data_dir}, but its token file {facts.token_file} is missing; "
                "start the daemon again, which makes a new one"
            )
        if given := os.environ.get("ZONEKEEPER_TOKEN"):
            return given
        raise TransportError("the daemon was given its token by its parent: set ZONEKEEPER_TOKEN to that token")


def _checked(token: str, path: str) -> str:
    """Return what a file holds if it may be a token: anything else in it is not for whoever listens, proof or none."""
    if not _LEFT_TOKEN.fullmatch(token):
        raise TransportError(f"{path} holds no token; start the daemon again, which makes a new one")
    return token


def _named_data_dir() -> Path | None:
    named = os.environ.get("ZONEKEEPER_DATA_DIR")
    try:
        return Path(named).expanduser().absolute() if named else None
    except RuntimeError as error:
        raise TransportError("ZONEKEEPER_DATA_DIR names a home directory that cannot be found") from error


def _certificate(facts: RunFile) -> str | None:
    """Read the daemon's own certificate, the first in its file: those behind it vouch for others as well."""
    if facts.tls_cert is None:
        return None
    match = _CERTIFICATE.search(_read(Path(facts.tls_cert)) or "")
    if match is None:
        raise TransportError(f"the daemon's certificate is not in {facts.tls_cert}")
    return match[0]


def _read(path: Path) -> str | None:
    """Read a small file, None where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise TransportError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TransportError(f"{path} cannot be understood") from error


def _is_held(data_dir: Path) -> bool:
    """Tell whether a process holds the data directory.

    Asked seldom: a daemon that starts at that very instant is refused the directory.
    """
    try:
        handle = os.open(data_dir / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
