"""What of a file a GET is answered: all, a range, compressed, or that it is unchanged (RFC 9110, sections 12 to 14); pure."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs

from rpc.conditions import GZIP_SUFFIX, Conditions
from rpc.files import StoredFile
from srv.compression import Codings
from srv.ranges import NotSatisfiableError, bytes_wanted
from srv.requests import Request

GZIP_BYTES_MIN: Final = 1024
"""Less than this leaves in one packet anyway."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is answered of one revision of a file.

    Attributes:
        status: 200, 206, 304 or 416.
        start_byte: the first that is sent, of 200 and 206.
        end_byte: the one behind the last.
        is_compressed: with gzip.
    """

    status: HTTPStatus
    start_byte: int = 0
    end_byte: int = 0
    is_compressed: bool = False

    @property
    def has_content(self) -> bool:
        """Tell whether it is about bytes of the file."""
        return self.status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}


class Selector:
    """What one request asks of a file.

    Args:
        request: a GET or HEAD.
        conditions: those of its headers; `match` has been met.
    """

    def __init__(self, request: Request, conditions: Conditions) -> None:
        """Read the headers."""
        headers = request.headers
        self._is_head = request.method == "HEAD"
        self._conditions = conditions
        # Only a GET has ranges.
        self._range = None if self._is_head else ",".join(headers.getall(hdrs.RANGE, ())) or None
        self._if_range = headers.getall(hdrs.IF_RANGE, ())
        self._codings = Codings.parse(headers.getall(hdrs.ACCEPT_ENCODING, ()))
        self._may_compress = request.speaks_1_1  # what has no length is sent in chunks

    def wants(self, file: StoredFile) -> bool:
        """Tell whether bytes of that file will be sent."""
        return not self._is_head and self.select(file).has_content

    def select(self, file: StoredFile) -> Selection:
        """Tell what of a file is answered."""
        is_compressed = self._is_compressed(file)
        for each in (is_compressed, not is_compressed):
            if self._conditions.is_unchanged(tag(file, is_compressed=each)):
                return Selection(HTTPStatus.NOT_MODIFIED, is_compressed=each)
        if is_compressed:
            return Selection(HTTPStatus.OK, 0, file.size_bytes, is_compressed=True)
        if self._range is not None and self._is_range_meant(file):
            try:
                wanted = bytes_wanted(self._range, file.size_bytes)
            except NotSatisfiableError:
                return Selection(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            if wanted is not None:
                return Selection(HTTPStatus.PARTIAL_CONTENT, *wanted)
        return Selection(HTTPStatus.OK, 0, file.size_bytes)

    def _is_compressed(self, file: StoredFile) -> bool:
        if not self._may_compress:
            return False
        helps = file.size_bytes >= GZIP_BYTES_MIN and self._range is None
        return self._codings.need_gzip or (helps and self._codings.prefer_gzip)

    def _is_range_meant(self, file: StoredFile) -> bool:
        """Tell whether `If-Range` names what is stored. A date never does: within its second there can be two revisions."""
        return not self._if_range or self._if_range == [f'"{file.tag}"']


def tag(file: StoredFile, *, is_compressed: bool) -> str:
    """Return the entity tag of what is sent, without its quotes."""
    return file.tag + GZIP_SUFFIX if is_compressed else file.tag
