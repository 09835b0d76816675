"""The first thing the user said, out of a snapshot or an output."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from store import previews
from store.limits import MIB
from store.previews import NO_PREVIEW, OutputScanner, Preview, one_line, snapshot_preview

CONTEXT = "# Session Context\nYou are Maks."
WHITE_SPACE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000"


def snapshot(*nodes: Any) -> bytes:
    """Make a snapshot of these nodes."""
    return json.dumps({"schemaVersion": 1, "nodes": list(nodes)}).encode()


def said(message: Any) -> dict[str, Any]:
    """Make a node in which the user says something."""
    return {"type": "user_message", "id": "u", "message": message}


def user(content: Any, **members: Any) -> dict[str, Any]:
    """Make a user's turn in Claude's form."""
    return {"type": "user", "message": {"role": "user", "content": content}, **members}


def text(*texts: str) -> list[dict[str, str]]:
    """Make text blocks."""
    return [{"type": "text", "text": each} for each in texts]


def assistant(*texts: str) -> dict[str, Any]:
    """Make the agent's turn in Claude's form."""
    return {"type": "assistant", "message": {"role": "assistant", "content": text(*texts)}}


def codex(kind: str, **members: Any) -> dict[str, Any]:
    """Make a completed item in Codex's form."""
    return {"type": "item.completed", "item": {"id": "item_0", "type": kind, **members}}


TOOL_RESULT = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "read a file"}]}


def output(*lines: Any) -> bytes:
    """Make an output of these lines; bytes stand as they are."""
    return b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)


def scan(data: bytes, chunk_bytes: int = 1 << 20) -> str:
    """Scan an output in chunks of that size."""
    scanner = OutputScanner()
    for start in range(0, len(data), chunk_bytes):
        if scanner.feed(data[start : start + chunk_bytes]):
            break
    return scanner.finish()


def check_line(line: str) -> None:
    """Hold a preview to what is promised of every one."""
    assert len(line) <= 241
    assert len(line) <= 240 or line.endswith("…")
    line.encode()
    body = line.removesuffix("…")
    assert "  " not in body
    assert not body.startswith(" ")
    assert line == body + "…" or not body.endswith(" ")
    assert not set(body) & (set(WHITE_SPACE) - {" "})


# --- one line


@given(st.text(st.one_of(st.sampled_from(WHITE_SPACE + "ab…\x1c\x1f\x00"), st.characters(codec="utf-8")), max_size=600))
@example("a" * 240 + " ")
@example("a" * 240 + " b")
@example("a" * 239 + " b")
@example("a " * 120 + "b")
def test_a_line_is_the_words_joined_by_spaces_and_cut(message: str) -> None:
    """White space is what Unicode says, each run becomes one space, and 240 characters are kept, with … if there was more."""
    for character in WHITE_SPACE:
        message = message.replace(character, " ")
    whole = " ".join(word for word in message.split(" ") if word)
    assert one_line(message) == (whole if len(whole) <= 240 else whole[:240] + "…")
    check_line(one_line(message))


def test_the_four_separators_of_ascii_are_text() -> None:
    """U+001C to U+001F are not White_Space, whatever `str.split` says."""
    assert one_line(" \x1c a\x1f\nb ") == "\x1c a\x1f b"


@pytest.mark.parametrize("message", ["x" * 30_000_000, " " * 30_000_000 + "x" * 300, "x " * 15_000_000])
def test_a_huge_message_is_cut_like_any_other(message: str) -> None:
    """Neither a huge word nor huge white space nor many words make a difference."""
    line = one_line(message)
    assert len(line) == 241
    check_line(line)


# --- snapshots


def test_the_first_message_of_the_user_is_shown() -> None:
    """Other nodes are counted and passed over, and so are later messages."""
    content = snapshot({"type": "markdown", "message": "no"}, said(" first\n\n one "), said("second"))
    assert snapshot_preview(content) == Preview("first one", 3)


def test_blank_messages_are_passed_over() -> None:
    """A message of nothing but white space shows nothing."""
    assert snapshot_preview(snapshot(said(""), said(" \n\u3000"), said("hi"))) == Preview("hi", 3)


@pytest.mark.parametrize(
    ("messages", "shown"),
    [
        ([CONTEXT, "hi"], "hi"),
        ([CONTEXT, CONTEXT + "2", "hi"], "hi"),
        (["hi", CONTEXT], "hi"),
        ([CONTEXT, "  "], "# Session Context You are Maks."),
        ([" " + CONTEXT, "hi"], "# Session Context You are Maks."),
        (["#  Session   Context is what I typed", "hi"], "# Session Context is what I typed"),
        (["Session Context", "hi"], "Session Context"),
    ],
)
def test_a_session_context_is_shown_only_where_no_other_message_is(messages: list[str], shown: str) -> None:
    """A message that starts with `# Session Context` comes from the program, not from the user."""
    assert snapshot_preview(snapshot(*map(said, messages))) == Preview(shown, len(messages))


def test_every_node_is_counted_whatever_it_is() -> None:
    """Nodes that are no objects, or have a type or message of another kind, count and are passed over."""
    odd: list[Any] = [
        None,
        1,
        -2.5,
        True,
        "user_message",
        [],
        [said("no")],
        {},
        {"type": 1},
        {"type": ["user_message"]},
    ]
    odd += [said(None), said(7), said({"message": "no"}), said(["no"]), {"type": "user_message"}, {"message": "no"}]
    assert snapshot_preview(snapshot(*odd)) == Preview("", len(odd))
    assert snapshot_preview(snapshot(*odd, said("hi"))) == Preview("hi", len(odd) + 1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\x00" * 100,
        b"\xff\xfe{}",
        b"null",
        b"17",
        b'"nodes"',
        b"[]",
        b"{}",
        b'{"nodes":null}',
        b'{"nodes":"x"}',
        b'{"nodes":{"0":{"type":"user_message","message":"no"}}}',
        snapshot(said("torn"))[:-1],
        snapshot(said("twice")) * 2,
        b"[" * 100_000,
        b'{"nodes":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000,
        b'{"nodes":[' + b'{"message":' * 100_000 + b"1" + b"}" * 100_000 + b"]}",
    ],
)
def test_what_is_no_snapshot_has_no_nodes(content: bytes) -> None:
    """Content that is not a JSON object with an array of nodes shows nothing and is no error."""
    assert snapshot_preview(content) == NO_PREVIEW


def test_nesting_too_deep_to_read_hides_only_its_node() -> None:
    """A node may nest as deep as JSON may be decoded at all."""
    deep = b'{"type":"user_message","message":' + b"[" * 500 + b"]" * 500 + b"}"
    assert snapshot_preview(b'{"nodes":[%b,%b]}' % (deep, json.dumps(said("hi")).encode())) == Preview("hi", 2)


def test_of_duplicate_keys_the_last_counts() -> None:
    """At every level, and whatever came before."""
    node = b'{"message":7,"type":"x","message":"a","type":"user_message","message":"b"}'
    assert snapshot_preview(b'{"nodes":5,"nodes":[%b],"nodes":[1,%b]}' % (node, node)) == Preview("b", 2)
    assert snapshot_preview(b'{"nodes":[%b],"nodes":null}' % node) == NO_PREVIEW


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (rb"\ud800", "�"),
        (rb"a \udfff b", "a � b"),
        (rb"\uD83D\uDE00", "😀"),
        (rb"\ud83d\ude00\ud83d", "😀�"),
        (rb"\ude00\ud83d", "��"),
        (rb"\ud83d\ud83d\ude00", "�😀"),
        (rb"\\ud800", "\\ud800"),
        (rb"\\\ud800", "\\�"),
        (rb"\\ud83d\ude00", "\\ud83d�"),
        (rb"\ud83d\\ude00", "�\\ude00"),
        (rb"\ud83d\n\ude00", "� �"),
        (b"a\xffb", "a�b"),
        (b"a\xed\xa0\x80b", "a���b"),
        (b"a\xe2\x82", "a�"),
    ],
)
def test_half_a_character_is_shown_as_a_replacement(message: bytes, shown: str) -> None:
    """Lone surrogates and bad UTF-8 become U+FFFD, and everything beside them stays as it is."""
    content = b'{"nodes":[{"type":"user_message","message":"%b"}]}'
    elsewhere = b'{"x":"%b","nodes":[{"type":"user_message","message":"hi"}]}'
    assert snapshot_preview(content % message) == Preview(shown, 1)
    assert snapshot_preview(content % (message + rb"\ud800")).text == shown + "�"
    assert snapshot_preview(elsewhere % message) == Preview("hi", 1)


def test_a_snapshot_of_any_size_has_a_preview_and_little_is_built() -> None:
    """50 MB of nodes are counted without being built, and a message after all of them is found."""
    filler = json.dumps({"type": "markdown", "content": 'with "quotes" and \\ and é ' * 40}).encode()
    count = 50_000_000 // len(filler)
    content = b'{"nodes":[%b,%b]}' % (b",".join([filler] * count), json.dumps(said("at the end")).encode())
    tracemalloc.start()
    try:
        assert snapshot_preview(content) == Preview("at the end", count + 1)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


JSON_PIECES = st.sampled_from([
    b'{"nodes":[', b'{"type":"user_message","message":"', b'"}', b"]}", b",", b"{", b"}", b"[", b"]", b'"', b"\\", b"\n",
    b'{"type":"user","message":{"role":"user","content":"', b'"}}\n', b'{"type":"assistant","message":{"content":[',
    b'{"type":"text","text":"', b'"}]}}\n', b'{"type":"item.completed","item":{"type":"agent_message","text":"',
    rb"\ud800", rb"\ude00", rb"\u0000", b"\xff", b"\xe2\x80", "\u3000…é".encode(), b"1e999", b"NaN", b"null", b"hello ",
    b"# Session Context", b"[Request interrupted", b"\x00", b"\x1c",
])  # fmt: skip
RUBBISH = st.one_of(st.binary(max_size=300), st.lists(JSON_PIECES, max_size=40).map(b"".join))


@given(RUBBISH)
def test_no_snapshot_raises(content: bytes) -> None:
    """Whatever the bytes are, there is a preview, and it is one short line."""
    preview = snapshot_preview(content)
    check_line(preview.text)
    assert preview.node_count >= 0


@given(st.lists(st.one_of(st.none(), st.text(max_size=400), st.text(st.sampled_from(WHITE_SPACE + "ab"))), max_size=6))
def test_the_preview_of_any_snapshot_is_its_first_message_that_is_not_blank(messages: list[str | None]) -> None:
    """Held against a plain model, over messages of any text."""
    lines = [line for message in messages if message is not None and (line := one_line(message))]
    own = [line for line in lines if not line.startswith("# Session Context")]
    expected = (own or lines or [""])[0]
    assert snapshot_preview(snapshot(*map(said, messages))) == Preview(expected, len(messages))


# --- output


FIRST = user("first\n one")


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        pytest.param([FIRST, user("second")], "first one", id="a string"),
        pytest.param([user(text("first"))], "first", id="an array with text"),
        pytest.param(
            [user([{"type": "image", "source": {}}, *text(" ", "first", "b")])], "first", id="text among blocks"
        ),
        pytest.param([assistant("hello"), FIRST], "first one", id="the user comes before the agent"),
        pytest.param([user([TOOL_RESULT]), FIRST], "first one", id="a tool result is not typed"),
        pytest.param([user([TOOL_RESULT, *text("typed")]), FIRST], "typed", id="typed beside a tool result"),
        pytest.param([user("[Request interrupted by user]"), FIRST], "first one", id="a notice"),
        pytest.param(
            [user(text("[Request interrupted by user for tool use]")), FIRST], "first one", id="a notice in text"
        ),
        pytest.param([user(" \n"), user([]), user(text(" ")), FIRST], "first one", id="blank turns"),
        pytest.param([user("find it", parent_tool_use_id="t"), FIRST], "first one", id="a subagent's turn"),
        pytest.param([user("first", parent_tool_use_id=None), FIRST], "first", id="no subagent's turn"),
        pytest.param([user(CONTEXT), FIRST], "first one", id="a context and another"),
        pytest.param(
            [user(CONTEXT), assistant("hello")], "# Session Context You are Maks.", id="a context and no other"
        ),
        pytest.param(
            [assistant("hello"), user(CONTEXT)], "# Session Context You are Maks.", id="a context after the agent"
        ),
        pytest.param([user(text(CONTEXT, "first"))], "first", id="a context and text in one turn"),
        pytest.param([user([TOOL_RESULT]), assistant(" ", "hello"), assistant("b")], "hello", id="Claude's first text"),
        pytest.param([user("[Request interrupted"), assistant("hello")], "hello", id="a notice is no turn"),
        pytest.param(
            [codex("reasoning", text="hm"), codex("agent_message", text="hello"), codex("agent_message", text="b")],
            "hello",
            id="Codex's first text",
        ),
        pytest.param(
            [codex("agent_message", text=" "), codex("agent_message", text="b")], "b", id="Codex's blank text"
        ),
        pytest.param([codex("agent_message", text="hello"), FIRST], "first one", id="a user's turn after Codex"),
        pytest.param([{**codex("agent_message", text="no"), "type": "item.started"}], "", id="an item not completed"),
        pytest.param(
            [assistant("hello"), user([TOOL_RESULT]), {**assistant("b"), "input": {"type": "user"}}],
            "hello",
            id="a later turn of the agent that looks like a user's",
        ),
        pytest.param(
            [user([{"type": "image", "text": None}, {"type": 5, "text": "no"}, 7, *text("cap")])],
            "cap",
            id="odd blocks",
        ),
        pytest.param([user([{**TOOL_RESULT, "text": None}, *text("typed")])], "typed", id="an odd tool result"),
        pytest.param([user("first", item="x", uuid=7)], "first", id="odd members"),
        pytest.param([{**codex("agent_message", text="hello"), "message": "x"}], "hello", id="Codex's odd members"),
        pytest.param([{**codex("agent_message", text="no"), "item": "x"}, FIRST], "first one", id="an odd item"),
        pytest.param([{**user("no"), "type": ["user"], "x": {"type": "user"}}, FIRST], "first one", id="an odd type"),
        pytest.param([user("no", isMeta=True), FIRST], "first one", id="a turn of the program's own"),
        pytest.param([user("first", isMeta=False), user("second")], "first", id="a turn that says it is the user's"),
        pytest.param([user("#  Session Context"), user("second")], "# Session Context", id="no context"),
        pytest.param([user([{"type": "thinking", "text": "hm"}]), FIRST], "first one", id="a block of another type"),
        pytest.param([b"", b"\n\n", {"type": "system"}], "", id="nothing said"),
        pytest.param([user("é 😀 \u3000x")], "é 😀 x", id="escapes"),
    ],
)
def test_the_first_turn_that_the_user_typed_is_shown(lines: list[Any], shown: str) -> None:
    """Where there is none, the agent's first text; the same with spaces between the members and without."""
    assert scan(output(*lines)) == shown
    compact = [line if isinstance(line, bytes) else json.dumps(line, separators=(",", ":")).encode() for line in lines]
    assert scan(b"\r\n".join(compact)) == shown


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"user","message":{"role":"user","content":"torn\n',
        b'\x00\x00{"type":"user","message":{"content":"after NULs"}}\n',
        b'{"type":"user"}\n',
        b'{"type":"user","message":null}\n',
        b'{"type":"user","message":"text"}\n',
        b'{"type":"user","message":{"content":null}}\n',
        b'{"type":"user","message":{"content":[1]}}\n',
        b'{"type":"user","message":{"content":[{"type":"text","text":5}]}}\n',
        b'{"type":"user","message":{"content":[{"type":"text"}]}}\n',
        b'["type","user"]\n',
        b'"type":"user"\n',
        b'{"type":"user","message":' + b"[" * 100_000 + b"\n",
        b'\xff\xff"type":"user"\xff\n',
        b'{"kind":"x","inner":{"type":"user","message":{"content":"nested"}}}\n',
        output({"type": "system", "quoted": json.dumps(user("quoted"))}),
    ],
)
def test_lines_that_are_no_turn_are_skipped(line: bytes) -> None:
    """Torn lines, NULs, other shapes and lines that only quote a turn hide nothing that follows."""
    assert scan(line) == ""
    assert scan(line + output(FIRST)) == "first one"
    assert scan(output(assistant("hello")) + line + output(FIRST) + line) == "first one"


def test_half_a_character_hides_no_turn() -> None:
    """Bad UTF-8 and lone surrogates are shown as U+FFFD in turns too."""
    assert scan(b'{"type":"user","message":{"content":"a\xff \\ud800 b"}}') == "a� � b"


def test_the_last_line_counts_without_a_newline() -> None:
    """A last piece without newline is a line (DESIGN.md section 1)."""
    assert scan(output(assistant("hello"), FIRST)[:-1]) == "first one"


def test_the_scan_ends_with_the_first_turn() -> None:
    """What follows is never looked at: the rest of a large output need not be read."""
    scanner = OutputScanner()
    assert not scanner.feed(output(user(CONTEXT), assistant("hello"))[:-5])
    assert scanner.feed(output(assistant("hello"))[-5:] + output(FIRST))
    assert scanner.feed(output(user("later")))
    assert scanner.finish() == "first one"


LINES = st.lists(
    st.one_of(
        RUBBISH,
        st.sampled_from([
            FIRST, user([TOOL_RESULT]), user(CONTEXT), user("[Request interrupted"), assistant("hello"),
            codex("agent_message", text="codex"), {"type": "system"}, b"\n", b'"type":"user"\n', b"\r\n",
        ]).map(output),
    ),
    max_size=12,
).map(b"".join)  # fmt: skip


@given(LINES, st.integers(1, 200))
def test_the_result_does_not_depend_on_the_chunks(data: bytes, chunk_bytes: int) -> None:
    """Nothing raises, the result is one short line, and the same however the bytes are cut."""
    whole = scan(data)
    check_line(whole)
    assert scan(data, chunk_bytes) == whole


@pytest.mark.parametrize("ended", [True, False])
def test_a_line_over_the_bound_is_skipped(ended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is exact, and what follows the line is found."""
    monkeypatch.setattr(previews, "LINE_BYTES_MAX", 10_000)
    frame = len(output(user("")))
    at_bound, over = output(user("x" * (10_000 - frame))), output(user("y" * (10_001 - frame)))
    assert scan(at_bound, 64).startswith("xxx")
    assert scan(over, 64) == ""
    assert scan(over + (output(FIRST) if ended else output(FIRST)[:-1]), 64) == "first one"


def test_a_line_of_many_megabytes_is_read() -> None:
    """A turn with a pasted image, say, is a turn."""
    image = {"type": "image", "source": {"type": "base64", "data": "A" * 20_000_000}}
    assert scan(output(user([image, *text("look at this")])), 1 << 18) == "look at this"


def chunks_of_deltas() -> Iterator[bytes]:
    """Yield well over a hundred megabytes of an output in which nobody says anything."""
    delta = {"type": "stream_event", "event": {"type": "content_block_delta", "delta": {"type": "text_delta"}}}
    chunk = output(*[delta] * 8_000)
    yield from [chunk] * 150


def test_a_turn_after_a_hundred_megabytes_is_found_in_little_memory() -> None:
    """There is no size after which previews go blank, and what is held does not grow."""
    scanner = OutputScanner()
    tracemalloc.start()
    try:
        decided = sum(scanner.feed(chunk) for chunk in chunks_of_deltas())
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()
    assert decided == 0
    assert scanner.feed(output(FIRST))
    assert scanner.finish() == "first one"


# --- as a program


def run_program(content: bytes, size_bytes: int) -> dict[str, Any]:
    """Run the module as the worker does."""
    command = [sys.executable, "-m", "store.previews", str(size_bytes)]
    folder = Path(previews.__file__).parents[1]
    answer = subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True, cwd=folder, timeout=60).stdout
    decoded: dict[str, Any] = json.loads(answer)
    return decoded


def test_the_program_prints_the_preview_of_what_it_reads() -> None:
    """As one JSON object, for content of any kind."""
    content = snapshot(said('é "quoted" 😀'), 1)
    assert run_program(content, len(content)) == {"text": 'é "quoted" 😀', "node_count": 2}
    assert run_program(b"\xff", 1) == {"text": "", "node_count": 0}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems may not bound an address space")
def test_the_program_does_not_take_the_machines_memory() -> None:
    """An array of millions of tiny nodes cannot be read within a bound that any conversation fits, and shows nothing."""
    content = b'{"nodes":[%b0]}' % (b"0," * 15_000_000)
    assert run_program(content, 0) == {"text": "", "node_count": 0}
