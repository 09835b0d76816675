"""Bytes to a short text: what a list shows of an archive; pure, bounded.

A preview is the first thing the user said, on one line. It comes from the snapshot's nodes, or else from the output:
`snapshot_preview` takes the one as a whole, `OutputScanner` the other chunk by chunk. No bytes make them raise: what
cannot be read has an empty preview.

Run as a program (`python -m store.previews SIZE_BYTES`) it reads a snapshot of that size on standard input and prints
`{"text": …, "node_count": …}`. msgspec holds the interpreter's lock while it decodes, for 50 MB longer than the event
loop may wait, so `store/preview_worker.py` has large snapshots read in a process of their own.
"""

from __future__ import annotations

import os
import re
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from store.limits import MIB, PREVIEW_CHARACTERS_MAX

LINE_BYTES_MAX: Final = 64 * MIB
"""A longer line of output is skipped: it would be held whole, and no user types that much."""

_CONTEXT: Final = "# Session Context"
_INTERRUPTED: Final = "[Request interrupted"

# Unicode 15 PropList.txt, White_Space. `\s`, `str.split` and `str.isspace` take U+001C to U+001F for blank too.
_WHITE_SPACE: Final = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# A piece as long as this is cut in any case, so a word of megabytes need not be walked to its end.
_WORD: Final = re.compile(f"[^{_WHITE_SPACE}]{{1,{PREVIEW_CHARACTERS_MAX + 1}}}")

# An escape for a surrogate: group 1 where it is a whole pair. The backslash that begins it is the last of an odd run.
# The pattern starts with a literal backslash, and only then looks behind, because `re` finds a literal much faster.
_SURROGATE: Final = re.compile(
    rb"""\\(?<!\\\\)(?:\\\\)*+u[dD](?:
        ([89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})
        |[89a-fA-F][0-9a-fA-F]{2}
    )""",
    re.VERBOSE,
)

# What a line must hold to be worth decoding. Tool output that quotes such a line has backslashes before its quotes.
_TYPE_KEY: Final = rb'"type"[ \t\r]*:[ \t\r]*'
_ANY_TURN: Final = re.compile(_TYPE_KEY + rb'"(?:user|assistant|agent_message)"')
_USER_TURN: Final = re.compile(_TYPE_KEY + rb'"user"')

_Decoded = TypeVar("_Decoded")


@dataclass(frozen=True, slots=True)
class Preview:
    """What a list shows of an archive.

    Attributes:
        text: one line of at most `PREVIEW_CHARACTERS_MAX` characters, and `…` if there was more; "" where there is
            nothing to show.
        node_count: number of the snapshot's nodes, of whatever type; 0 where there are none.
    """

    text: str
    node_count: int


NO_PREVIEW: Final = Preview("", 0)


class _Snapshot(msgspec.Struct):
    nodes: msgspec.Raw = msgspec.Raw(b"[]")


class _Node(msgspec.Struct):
    type: Any = None
    message: Any = None


class _Block(msgspec.Struct):
    """A block of Claude's content, or an item of Codex's. Of another type, its `text` may be anything."""

    type: Any = None
    text: Any = None


class _Message(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Turn(msgspec.Struct):
    """A line of output, Claude's (`message`) or Codex's (`item`); what is not looked into may be anything.

    Claude's turns within a subagent name the tool call that started it: what such a turn asks was written by the agent.
    Those with `isMeta` were put there by the program.
    """

    type: Any = None
    message: msgspec.Raw = msgspec.Raw(b"null")
    item: msgspec.Raw = msgspec.Raw(b"null")
    parent_tool_use_id: Any = None
    isMeta: Any = None  # noqa: N815 - the name in the output

    @property
    def typed(self) -> bool:
        """Tell whether it may be the user's own."""
        return self.type == "user" and not isinstance(self.parent_tool_use_id, str) and self.isMeta is not True


_SNAPSHOT: Final = msgspec.json.Decoder(_Snapshot)
_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])
_NODE: Final = msgspec.json.Decoder(_Node)
_TURN: Final = msgspec.json.Decoder(_Turn)
_MESSAGE: Final = msgspec.json.Decoder(_Message)
_BLOCK: Final = msgspec.json.Decoder(_Block)
_TEXT: Final = msgspec.json.Decoder(str)


def one_line(text: str) -> str:
    """Collapse runs of white space to a space, trim, cut at `PREVIEW_CHARACTERS_MAX`, and add `…` if there was more."""
    words: list[str] = []
    room = PREVIEW_CHARACTERS_MAX + 1  # what shows that there was more
    for match in _WORD.finditer(text):
        words.append(match[0][:room])
        room -= len(words[-1]) + 1
        if room < 0:
            break
    line = " ".join(words)
    return line if len(line) <= PREVIEW_CHARACTERS_MAX else f"{line[:PREVIEW_CHARACTERS_MAX]}…"


def snapshot_preview(content: bytes) -> Preview:
    """Find the first message of the user among a snapshot's `nodes`, and count them.

    It is the first `message` that is not blank of a node whose `type` is `user_message`. One that starts with
    `# Session Context` was put there by the program, and counts only where no other follows.

    Returns:
        The preview. Its text is "" where no node holds such a message; its count is 0 where the content is not a JSON
        object with an array `nodes`.
    """
    snapshot = _decode(_SNAPSHOT, content)
    nodes = _decode(_ARRAY, snapshot.nodes) if snapshot else None
    context = ""
    for raw in nodes or ():
        node = _decode(_NODE, raw)
        if node is None or node.type != "user_message" or not isinstance(node.message, str):
            continue
        line = one_line(node.message)
        if line and not node.message.startswith(_CONTEXT):
            return Preview(line, len(nodes or ()))
        context = context or line
    return Preview(context, len(nodes or ()))


class OutputScanner:
    """Finds what an output shows of itself, from its bytes in chunks of any size, in order.

    It is the first turn that the user typed, in Claude's form: not a tool result, not the program's own (`isMeta`), and
    not a notice that starts `[Request interrupted`. One that starts with `# Session Context` counts only where no other
    turn of the user follows. Where there is none, it is the agent's first text, in Claude's form or Codex's. Lines that
    cannot be read are skipped.

    Holds one unfinished line of at most `LINE_BYTES_MAX` bytes.
    """

    def __init__(self) -> None:
        """Begin before the first byte."""
        self._unfinished = bytearray()
        self._skipping = False
        self._candidates = _ANY_TURN
        self._typed = ""
        self._context = ""
        self._agent_text = ""

    def feed(self, chunk: bytes) -> bool:
        """Take the next bytes. Returns True once nothing that follows can change the result."""
        line_end = chunk.find(b"\n") + 1
        if line_end:
            self._take(chunk[:line_end])
            self._scan(self._unfinished)
            self._unfinished = bytearray()
            self._skipping = False
            last_line = chunk.rfind(b"\n") + 1
            self._scan(chunk[line_end:last_line])
            line_end = last_line
        self._take(chunk[line_end:])
        return bool(self._typed)

    def finish(self) -> str:
        """Take the end of the output; a last piece without newline is a line. Returns the text, "" if there is none."""
        self._scan(self._unfinished)
        self._unfinished = bytearray()
        return self._typed or self._context or self._agent_text

    def _take(self, piece: bytes) -> None:
        """Add to the unfinished line, or let go of it where it is too long."""
        if self._skipping or len(self._unfinished) + len(piece) > LINE_BYTES_MAX:
            self._skipping = True
            self._unfinished = bytearray()
        else:
            self._unfinished += piece

    def _scan(self, lines: bytes | bytearray) -> None:
        """Look into those of the lines that may be a turn."""
        start = 0
        while not self._typed and (match := self._candidates.search(lines, start)):
            line_start = lines.rfind(b"\n", start, match.start()) + 1 or start
            start = lines.find(b"\n", match.end()) + 1 or len(lines)
            turn = _decode(_TURN, bytes(lines[line_start:start]))
            if turn is not None:
                self._consider(turn)

    def _consider(self, turn: _Turn) -> None:
        if turn.typed:
            for text in _texts(turn.message):
                line = one_line(text)
                if not line or line.startswith(_INTERRUPTED):
                    continue
                if not text.startswith(_CONTEXT):
                    self._typed = line
                    return
                self._context = self._context or line
        elif turn.type == "assistant" and not self._agent_text:
            self._agent_text = next(filter(None, map(one_line, _texts(turn.message))), "")
        elif turn.type == "item.completed" and not self._agent_text:
            self._agent_text = one_line(_text_of(turn.item, "agent_message"))
        if self._context or self._agent_text:
            self._candidates = _USER_TURN


def _texts(message: msgspec.Raw) -> list[str]:
    """Return the texts of Claude's message. A tool result is a block of another type."""
    found = _decode(_MESSAGE, message)
    if found is None:
        return []
    text = _decode(_TEXT, found.content)
    return [_text_of(block, "text") for block in _decode(_ARRAY, found.content) or ()] if text is None else [text]


def _text_of(block: msgspec.Raw, block_type: str) -> str:
    """Return the text of a block of that type, "" where it is of another or has none."""
    found = _decode(_BLOCK, block)
    return found.text if found and found.type == block_type and isinstance(found.text, str) else ""


def _decode(decoder: msgspec.json.Decoder[_Decoded], data: bytes | msgspec.Raw) -> _Decoded | None:
    """Decode JSON of a certain shape; None where it is not JSON, or not of that shape.

    Bad UTF-8 and lone surrogates are read as U+FFFD: one bad character must not hide a whole conversation, and a
    preview must be encodable.
    """
    try:
        return decoder.decode(data)
    except (msgspec.ValidationError, RecursionError):
        return None
    except ValueError:
        mended = _mended(bytes(data))
    try:
        return decoder.decode(mended)
    except (ValueError, RecursionError):
        return None


def _mended(data: bytes) -> bytes:
    text = data.decode("utf-8", "replace").encode()
    return _SURROGATE.sub(lambda match: match[0] if match[1] else match[0][:-6] + rb"\ufffd", text)


def main() -> None:
    """Read a snapshot on standard input and print its preview. The argument is the snapshot's size in bytes."""
    os.nice(10)
    with suppress(ValueError, OSError):  # some systems do not let an address space be bounded
        # Ample for any conversation; an array of tens of millions of empty nodes must not take the machine's memory.
        bytes_max = 512 * MIB + 8 * int(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_AS, (bytes_max, bytes_max))
    try:
        preview = snapshot_preview(sys.stdin.buffer.read())
    except MemoryError:
        preview = NO_PREVIEW
    sys.stdout.buffer.write(msgspec.json.encode(preview))


if __name__ == "__main__":
    main()
