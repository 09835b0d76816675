"""A layer between SQLite and the disk: records what the files of a store go through, and fails where it is told to.

It stands in the very library that Python's `sqlite3` uses, as its default VFS. Opening goes to the VFS that was the
default; the table of methods of a file so opened is replaced by a copy in which reading, writing, truncating and syncing
are ours and call the original ones. Locks and shared memory stay as they are. A process that has installed it cannot
take it out again.

A fault is told in a file of JSON, `Fault`s as objects in a list, which may be replaced (by a rename) at any time.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.faults.recording import FILES, Kind, Recorder

_OK: Final = 0
_IOERR: Final = 10

_FILE_METHODS: Final = (
    *("xClose", "xRead", "xWrite", "xTruncate", "xSync", "xFileSize", "xLock", "xUnlock", "xCheckReservedLock"),
    *("xFileControl", "xSectorSize", "xDeviceCharacteristics", "xShmMap", "xShmLock", "xShmBarrier", "xShmUnmap"),
    *("xFetch", "xUnfetch"),
)
_VFS_METHODS: Final = (
    *("xOpen", "xDelete", "xAccess", "xFullPathname", "xDlOpen", "xDlError", "xDlSym", "xDlClose", "xRandomness"),
    *("xSleep", "xCurrentTime", "xGetLastError", "xCurrentTimeInt64", "xSetSystemCall", "xGetSystemCall"),
    "xNextSystemCall",
)


_installed: Final[list[object]] = []
"""SQLite holds only pointers to what is ours."""


class _Methods(Structure):
    """`sqlite3_io_methods`."""

    _fields_ = [("iVersion", c_int), *((name, c_void_p) for name in _FILE_METHODS)]


class _File(Structure):
    """The beginning of every `sqlite3_file`."""

    _fields_ = [("methods", POINTER(_Methods))]


class _Vfs(Structure):
    """`sqlite3_vfs`."""

    _fields_ = [
        ("iVersion", c_int),
        ("szOsFile", c_int),
        ("mxPathname", c_int),
        ("pNext", c_void_p),
        ("zName", c_char_p),
        ("pAppData", c_void_p),
        *((name, c_void_p) for name in _VFS_METHODS),
    ]


# Names of files are passed on as the pointers they are: SQLite keeps them, and finds its URI parameters behind them.
_OPEN: Final = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_DELETE: Final = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_READ: Final = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_WRITE: Final = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE: Final = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC: Final = CFUNCTYPE(c_int, c_void_p, c_int)
_SET_SYSTEM_CALL: Final = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p)
_GET_SYSTEM_CALL: Final = CFUNCTYPE(c_void_p, c_void_p, c_char_p)
_OPEN_DIRECTORY: Final = CFUNCTYPE(c_int, c_void_p, c_void_p)


@dataclass(frozen=True, slots=True)
class Fault:
    """Calls that are to fail.

    Attributes:
        call: "open", "read", "write", "truncate", "sync" or "delete". A write that fails has written its first half.
        file: of which file, an element of `FILES`.
        code: what SQLite is told, an (extended) result code.
        after: so many calls go through first.
        times: so many fail, None for all that come.
    """

    call: str
    file: str
    code: int
    after: int = 0
    times: int | None = 1


def put_in(path: Path, *faults: Fault) -> None:
    """Have these faults met from now on, and no others; the calls are counted from the next one."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps([asdict(fault) for fault in faults]), encoding="utf-8")
    new.replace(path)


class _Faults:
    """The faults that are to be met, as the file says at the moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int] | None = None
        self._faults: list[Fault] = []
        self._calls: list[int] = []

    def code_for(self, call: str, file: str) -> int:
        """Count a call; returns the code with which it is to fail, or 0."""
        self._look()
        found = _OK
        for number, fault in enumerate(self._faults):
            if (fault.call, fault.file) == (call, file):
                self._calls[number] += 1
                failed = self._calls[number] - fault.after
                if failed > 0 and (fault.times is None or failed <= fault.times):
                    found = fault.code
        return found

    def _look(self) -> None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return
        version = (stat.st_ino, stat.st_mtime_ns)
        if version != self._version:
            self._version = version
            self._faults = [Fault(**each) for each in json.loads(self._path.read_bytes())]
            self._calls = [0] * len(self._faults)


class Shim:
    """The layer. `install` puts it in for the rest of the process, before SQLite has opened anything."""

    def __init__(self, store: Path, recording: Path, faults: Path) -> None:
        """Say what to watch.

        Args:
            store: the database file of the store; those beside it that SQLite names after it belong to it.
            recording: where to record.
            faults: the file that tells the faults; it need not be there.
        """
        self._store = os.fsencode(os.path.realpath(store))
        self._recorder = Recorder(recording)
        self._faults = _Faults(faults)
        self._turn = threading.RLock()
        self._kept_alive: list[object] = []
        self._files: dict[int, str] = {}
        self._tables: dict[int, _Methods] = {}
        self._directory = threading.local()
        library = _library()
        library.sqlite3_vfs_find.restype = POINTER(_Vfs)
        self._original = library.sqlite3_vfs_find(None).contents
        self._register = library.sqlite3_vfs_register

    def install(self) -> None:
        """Become the default VFS."""
        vfs = _Vfs.from_buffer_copy(self._original)
        name = ctypes.create_string_buffer(b"recorded")
        self._kept_alive += [vfs, name]
        vfs.zName = ctypes.cast(name, c_char_p).value
        vfs.xOpen = self._pointer(_OPEN, self._open)
        vfs.xDelete = self._pointer(_DELETE, self._delete)
        get = _GET_SYSTEM_CALL(self._original.xGetSystemCall)
        self._open_directory = _OPEN_DIRECTORY(get(ctypes.addressof(self._original), b"openDirectory"))
        ours = self._pointer(_OPEN_DIRECTORY, self._watch_directory)
        set_call = _SET_SYSTEM_CALL(self._original.xSetSystemCall)
        if set_call(ctypes.addressof(self._original), b"openDirectory", ours) or self._register(ctypes.byref(vfs), 1):
            raise RuntimeError("SQLite does not take the shim")
        _installed.append(self)

    def _pointer(self, kind: Any, method: Callable[..., int]) -> int | None:
        """Make a C function of a method. What it raises is an I/O error to SQLite, and is said on standard error."""

        @functools.wraps(method)
        def guarded(*arguments: Any) -> int:
            try:
                return method(*arguments)
            except BaseException:  # noqa: BLE001 - there is Python on neither side of this frame
                traceback.print_exc(file=sys.stderr)
                return _IOERR

        function = kind(guarded)
        self._kept_alive.append(function)
        return ctypes.cast(function, c_void_p).value

    def _open(self, _vfs: int, name: int | None, file: int, flags: int, flags_out: int | None) -> int:
        suffix = self._suffix(name)
        if suffix is not None and (code := self._fault("open", suffix)):
            _File.from_address(file).methods = POINTER(_Methods)()  # SQLite closes what has methods
            return code
        result: int = _OPEN(self._original.xOpen)(ctypes.addressof(self._original), name, file, flags, flags_out)
        if suffix is not None and result == _OK:
            with self._turn:
                self._recorder.add(Kind.OPEN, suffix)
                self._files[file] = suffix
                opened = _File.from_address(file)
                opened.methods = ctypes.pointer(self._table(opened.methods.contents))
        return result

    def _table(self, original: _Methods) -> _Methods:
        """Return the copy of a table of methods in which ours stand in place of the original ones."""
        address = ctypes.addressof(original)
        if address not in self._tables:
            table = _Methods.from_buffer_copy(original)
            table.xRead = self._pointer(_READ, functools.partial(self._read, _READ(original.xRead)))
            table.xWrite = self._pointer(_WRITE, functools.partial(self._write, _WRITE(original.xWrite)))
            table.xTruncate = self._pointer(_TRUNCATE, functools.partial(self._truncate, _TRUNCATE(original.xTruncate)))
            table.xSync = self._pointer(_SYNC, functools.partial(self._sync, _SYNC(original.xSync)))
            self._tables[address] = table
        return self._tables[address]

    def _read(self, original: Any, file: int, data: int, size_bytes: int, offset: int) -> int:
        code = self._fault("read", self._files[file])
        return code or int(original(file, data, size_bytes, offset))

    def _write(self, original: Any, file: int, data: int, size_bytes: int, offset: int) -> int:
        code = self._fault("write", self._files[file])
        if code:
            size_bytes //= 2
        with self._turn:
            self._recorder.add(Kind.WRITE, self._files[file], offset, ctypes.string_at(data, size_bytes))
            return code or int(original(file, data, size_bytes, offset))

    def _truncate(self, original: Any, file: int, size_bytes: int) -> int:
        if code := self._fault("truncate", self._files[file]):
            return code
        with self._turn:
            self._recorder.add(Kind.TRUNCATE, self._files[file], size_bytes)
            return int(original(file, size_bytes))

    def _sync(self, original: Any, file: int, flags: int) -> int:
        suffix, covered = self._files[file], self._recorder.length
        code = self._fault("sync", suffix) or int(self._noting_directory(covered, original, file, flags))
        with self._turn:
            self._recorder.add(Kind.SYNC_FAILED if code else Kind.SYNC, suffix, covered)
        return code

    def _delete(self, _vfs: int, name: int, sync_directory: int) -> int:
        suffix = self._suffix(name)
        if suffix is not None:
            if code := self._fault("delete", suffix):
                return code
            with self._turn:
                self._recorder.add(Kind.DELETE, suffix)
        delete = _DELETE(self._original.xDelete)
        vfs = ctypes.addressof(self._original)
        return int(self._noting_directory(self._recorder.length, delete, vfs, name, sync_directory))

    def _noting_directory(self, covered: int, call: Any, *arguments: Any) -> int:
        """Make a call of the system's, and record the sync of the directory where there was one in it."""
        self._directory.opened = False
        result = int(call(*arguments))
        if result == _OK and self._directory.opened:
            with self._turn:
                self._recorder.add(Kind.DIRECTORY_SYNC, "", covered)
        return result

    def _watch_directory(self, name: int, handle: int) -> int:
        """Note that a directory is opened: SQLite does that in order to sync it, and for nothing else."""
        result = int(self._open_directory(name, handle))
        self._directory.opened = result == _OK
        return result

    def _fault(self, call: str, file: str) -> int:
        with self._turn:
            if code := self._faults.code_for(call, file):
                self._recorder.add(Kind.FAULT, file, code)
            return code

    def _suffix(self, name: int | None) -> str | None:
        """Tell which file of the store has this name; None for any other file."""
        path = ctypes.string_at(name) if name else b""
        if not path.startswith(self._store):
            return None
        suffix = os.fsdecode(path[len(self._store) :])
        return suffix if suffix in FILES else None


def _library() -> Any:
    """Find the SQLite that `sqlite3` uses: in its extension's dependencies, or in Python itself where it is built in."""
    extension = importlib.import_module("_sqlite3")
    return ctypes.CDLL(getattr(extension, "__file__", None))
