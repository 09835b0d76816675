"""Files over HTTP as they are: what is got of them, what conditions do, and how a snapshot is put."""

from __future__ import annotations

import gzip
import http.client
import itertools
import json
import threading
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime

import pytest

from tests.faults.stored import store_of
from tests.srv.conftest import ORIGIN
from tests.srv.daemon import Daemon, read_response
from tests.store.foreign import meddling

MIB = 2**20
SNAPSHOT = "output.state.json"
_NAMES = (f"files-{number}" for number in itertools.count())

Answer = tuple[int, http.client.HTTPMessage, bytes]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run one daemon for all of these: with an origin, and a small limit."""
    options = ("--allow-origin", ORIGIN, "--snapshot-bytes-max", "4MiB", "--log-level", "debug")
    with Daemon.start(tmp_path_factory.mktemp("files") / "data", *options) as running:
        yield running


@pytest.fixture
def agent() -> str:
    """Name an agent that has nothing yet."""
    return next(_NAMES)


def path(agent: str, name: str = SNAPSHOT, zone: str = "current") -> str:
    """Return the path of a file."""
    return f"/zones/{agent}/{zone}/{name}"


def get(daemon: Daemon, agent: str, name: str = SNAPSHOT, method: str = "GET", **headers: str) -> Answer:
    """Get a file of the current session; `if_match` is the header If-Match."""
    return daemon.request(method, path(agent, name), None, named(headers))


def put(daemon: Daemon, agent: str, content: bytes, query: str = "", **headers: str) -> Answer:
    """Put a snapshot."""
    return daemon.request("PUT", path(agent) + query, content, named(headers))


def named(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers under their names."""
    return {name.replace("_", "-"): value for name, value in headers.items()}


def written(daemon: Daemon, agent: str, content: str = '{"nodes": []}') -> str:
    """Write a snapshot; return its entity tag."""
    answer = daemon.call("agent:session:write_state", definition_id=agent, content=content)
    return f'"{answer["session_id"]}-{answer["revision"]}"'


def said(answer: Answer) -> tuple[int, str]:
    """Return status and word of an error, whose body has all that a method would tell."""
    status, headers, body = answer
    facts = json.loads(body)
    assert facts.keys() >= {"error", "code", "hint", "retry"}
    assert (headers["Retry-After"] is not None) == facts["retry"]
    return status, facts["code"]


def test_a_snapshot_is_got_byte_for_byte_and_described(daemon: Daemon, agent: str) -> None:
    """What was written through a method comes as it is, with its tag, session, revision and time."""
    content = '{"nodes": ["é"]}\r\n'
    tag = written(daemon, agent, content)
    status, headers, body = get(daemon, agent)
    assert (status, body) == (200, content.encode())
    session_id, _, revision = tag.strip('"').rpartition("-")
    shown = [headers[name] for name in ("Content-Type", "ETag", "Accept-Ranges", "X-Session-Id", "X-Revision", "Vary")]
    assert shown == ["application/json", tag, "bytes", session_id, revision, "Accept-Encoding"]
    assert headers["Content-Length"] == str(len(content.encode()))
    modts = daemon.call("agent:session:read", definition_id=agent)["modts"]
    assert int(parsedate_to_datetime(headers["Last-Modified"]).timestamp()) == modts // 1000


def test_an_output_is_got_byte_for_byte_and_described(daemon: Daemon, agent: str) -> None:
    """As `application/x-ndjson`, with the number of its lines; also once it is in an archive, under the same tag."""
    lines = [f'{{"line": {number}, "text": "{"é" * 500}"}}' for number in range(3_000)]
    daemon.call("agent:session:append_output", definition_id=agent, lines=[*lines, ""])
    expected = "".join(f"{line}\n" for line in [*lines, ""]).encode()
    status, headers, body = get(daemon, agent, "output")
    assert (status, body, headers["Content-Type"]) == (200, expected, "application/x-ndjson")
    assert (headers["X-Total-Lines"], headers["Content-Length"]) == ("3000", str(len(expected)))
    at_ms = daemon.call("agent:session:archive", definition_id=agent)["archived_at_ms"]
    status, archived, body = daemon.request("GET", path(agent, "output", f"archive/{at_ms}"))
    assert (status, body) == (200, expected)
    assert archived["ETag"] == headers["ETag"]
    assert said(get(daemon, agent, "output")) == (404, "ZONE_NOT_FOUND")


@pytest.mark.parametrize("name", [SNAPSHOT, "output"])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_head_tells_what_get_would(daemon: Daemon, agent: str, name: str, coding: str) -> None:
    """The same header lines, no body, and the connection goes on."""
    written(daemon, agent, " " * 2_000)
    daemon.call("agent:session:append_output", definition_id=agent, line=" " * 2_000)
    lines = f"Accept-Encoding: {coding}"
    with daemon.connect() as connection:
        connection.sendall(daemon.head("HEAD", path(agent, name), lines) + daemon.head("GET", "/healthz"))
        received = b""
        while b'"alive"' not in received:
            received += connection.recv(65_536)
    _, headers, body = get(daemon, agent, name, Accept_Encoding=coding)
    of_head = received.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    varies = ("Date", "X-Request-Id")
    assert [line for line in of_head if not line.startswith(varies)] == [
        f"{key}: {value}" for key, value in headers.items() if key not in varies
    ]
    assert len(gzip.decompress(body) if coding == "gzip" else body) >= 2_000


@pytest.mark.parametrize(
    ("below", "expected"),
    [
        ("fresh/current/output.state.json", (404, "ZONE_NOT_FOUND")),
        ("fresh/current/output", (404, "ZONE_NOT_FOUND")),
        ("fresh/archive/5/output.state.json", (404, "ZONE_NOT_FOUND")),
        ("fresh/archive/5/output", (404, "ZONE_NOT_FOUND")),
        ("no.dots/current/output", (400, "INVALID_DEFINITION_ID")),
        ("../current/output", (400, "INVALID_DEFINITION_ID")),
        ("fre%73h/current/output", (400, "INVALID_DEFINITION_ID")),
        ("/current/output.state.json", (400, "INVALID_DEFINITION_ID")),
        (f"{'x' * 513}/current/output", (413, "TOO_LARGE")),
        ("fresh/archive/05/output", (400, "INVALID_PARAMS")),
        ("fresh/archive/-1/output.state.json", (400, "INVALID_PARAMS")),
        (f"fresh/archive/{2**53}/output", (400, "INVALID_PARAMS")),
        ("fresh/archive/1e3/output.state.json", (400, "INVALID_PARAMS")),
        ("fresh/archive//output", (400, "INVALID_PARAMS")),
    ],
)
def test_what_is_not_there_or_cannot_be_is_told_as_by_a_method(
    daemon: Daemon, below: str, expected: tuple[int, str]
) -> None:
    """The same words, with the status that belongs to each; nothing comes into being."""
    assert said(daemon.request("GET", f"/zones/{below}")) == expected
    assert daemon.call("agent:session:stat", definition_ids=["fresh"])[0]["session_id"] is None


@pytest.mark.parametrize(
    "below",
    [
        *("", "a", "a/current", "a/current/", "a/archive/output", "a/current/5/output", "a/archive/5"),
        *("a/current/output/", "a/current/./output", "a/current//output", "a/Current/output", "a/current/outpu%74"),
        *("a/current/notes", "a/current/output.state", "a/current/output.state.json/x", "a/x/../current/output"),
        *("a/current/output;x=1", "a%2Fcurrent%2Foutput", "a/current%2Foutput", "a\\current\\output"),
    ],
)
def test_only_what_is_exactly_such_a_path_is_one(daemon: Daemon, below: str) -> None:
    """Nothing is decoded, and no dots are followed."""
    status, _, body = daemon.request("GET", f"/zones/{below}")
    assert (status, json.loads(body).keys()) == (404, {"error"})


@pytest.mark.parametrize(
    ("method", "zone", "name", "allowed"),
    [
        ("DELETE", "current", SNAPSHOT, "GET, HEAD, PUT"),
        ("POST", "current", SNAPSHOT, "GET, HEAD, PUT"),
        ("PATCH", "current", SNAPSHOT, "GET, HEAD, PUT"),
        ("PUT", "current", "output", "GET, HEAD"),
        ("POST", "current", "output", "GET, HEAD"),
        ("PUT", "archive/5", SNAPSHOT, "GET, HEAD"),
        ("DELETE", "archive/5", "output", "GET, HEAD"),
    ],
)
def test_other_methods_are_told_the_right_ones(daemon: Daemon, method: str, zone: str, name: str, allowed: str) -> None:
    """Only the snapshot of a current session can be put, and nothing here be deleted or posted to."""
    status, headers, _ = daemon.request(method, path("a", name, zone), b"{}")
    assert (status, headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize(
    ("sent", "status", "content_range", "body"),
    [
        ("bytes=0-0", 206, "bytes 0-0/10", b"0"),
        ("bytes=2-4", 206, "bytes 2-4/10", b"234"),
        ("Bytes=7-", 206, "bytes 7-9/10", b"789"),
        ("bytes=7-99", 206, "bytes 7-9/10", b"789"),
        ("bytes=-3", 206, "bytes 7-9/10", b"789"),
        ("bytes=-30", 206, "bytes 0-9/10", b"0123456789"),
        ("bytes= 1-2 ,", 206, "bytes 1-2/10", b"12"),
        ("bytes=10-", 416, "bytes */10", None),
        ("bytes=-0", 416, "bytes */10", None),
        (f"bytes={10**100}-", 416, "bytes */10", None),
        ("bytes=0-1,4-5", 416, "bytes */10", None),
        ("bytes=4-2", 200, None, b"0123456789"),
        ("bytes=a-b", 200, None, b"0123456789"),
        ("bytes=-", 200, None, b"0123456789"),
        ("lines=0-1", 200, None, b"0123456789"),
        ("bytes", 200, None, b"0123456789"),
    ],
)
def test_ranges(
    daemon: Daemon, agent: str, sent: str, status: int, content_range: str | None, body: bytes | None
) -> None:
    """One range is sent; several and those beyond the end are 416; what is no range is as none."""
    written(daemon, agent, "0123456789")
    got, headers, content = get(daemon, agent, Range=sent)
    assert (got, headers["Content-Range"]) == (status, content_range)
    assert content == body or body is None
    assert get(daemon, agent, method="HEAD", Range=sent)[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": "{tag}"}, 304),
        ({"If-None-Match": 'W/{tag}, "x"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": "{older}"}, 200),
        ({"If-None-Match": "{tag}", "Range": "bytes=0-1"}, 304),
        ({"If-None-Match": "{tag}", "If-Match": "{older}"}, 412),
        ({"If-None-Match": "unquoted"}, 400),
        ({"If-Match": "{tag}"}, 200),
        ({"If-Match": '"x", {tag}'}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": "W/{tag}"}, 412),
        ({"If-Match": "{older}"}, 412),
        ({"If-Match": '"of-another-session-7"'}, 409),
        ({"If-Match": "{tag}-1"}, 400),
        ({"If-Match": "{tag}", "Range": "bytes=0-1"}, 206),
        ({"If-Range": "{tag}", "Range": "bytes=0-1"}, 206),
        ({"If-Range": "{older}", "Range": "bytes=0-1"}, 200),
        ({"If-Range": "W/{tag}", "Range": "bytes=0-1"}, 200),
        ({"If-Range": "{date}", "Range": "bytes=0-1"}, 200),
        ({"If-Range": "{older}", "Range": "bytes=99-"}, 200),
        ({"If-Modified-Since": "{date}"}, 200),
    ],
)
def test_conditions_of_a_get(daemon: Daemon, agent: str, headers: dict[str, str], status: int) -> None:
    """Tags decide, in the order of RFC 9110; dates, within whose second there can be two revisions, never do."""
    older = written(daemon, agent, "old")
    tag = written(daemon, agent, "new")
    date = get(daemon, agent)[1]["Last-Modified"]
    sent = {name: value.format(tag=tag, older=older, date=date) for name, value in headers.items()}
    for method in ("GET", "HEAD"):
        got, shown, body = daemon.request(method, path(agent), None, sent)
        assert got == (200 if (method, status) == ("HEAD", 206) else status)
        if status in {200, 206, 304}:
            assert shown["ETag"] == tag
        if status == 304:
            assert (body, shown["Content-Length"], shown["Content-Type"]) == (b"", None, None)
            assert shown["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("name", [SNAPSHOT, "output"])
@pytest.mark.parametrize("size_bytes", [1_024, 100_000, 3 * MIB])
def test_what_is_wanted_compressed_is_sent_so(daemon: Daemon, agent: str, name: str, size_bytes: int) -> None:
    """In chunks, under a tag of its own that is known again, and never where a range is asked for."""
    content = json.dumps({"text": [f"{number}" for number in range(size_bytes)]})[: size_bytes - 1] + "\n"
    tag = written(daemon, agent, content)
    if name == "output":
        daemon.call("agent:session:append_output", definition_id=agent, line=content)
        tag = get(daemon, agent, name)[1]["ETag"]
    status, headers, body = get(daemon, agent, name, Accept_Encoding="br, gzip;q=0.5")
    assert gzip.decompress(body) == content.encode()
    assert len(body) < size_bytes
    shown = [headers[each] for each in ("Content-Encoding", "Transfer-Encoding", "Content-Length", "Vary")]
    assert (status, shown) == (200, ["gzip", "chunked", None, "Accept-Encoding"])
    assert headers["ETag"] == tag[:-1] + '-gzip"'
    for known, coding in ((headers["ETag"], "gzip"), (headers["ETag"], "identity"), (tag, "gzip")):
        status, unchanged, _ = get(daemon, agent, name, Accept_Encoding=coding, If_None_Match=known)
        assert (status, unchanged["ETag"]) == (304, known)
    status, part, body = get(daemon, agent, name, Accept_Encoding="gzip", Range="bytes=1-2", If_Range=tag)
    assert (status, body, part["Content-Encoding"], part["ETag"]) == (206, content[1:3].encode(), None, tag)


@pytest.mark.parametrize(
    ("accepted", "size_bytes", "coding"),
    [
        (None, 5_000, None),
        ("", 5_000, None),
        ("gzip", 1_023, None),
        ("gzip", 1_024, "gzip"),
        ("x-gzip", 5_000, "gzip"),
        ("*", 5_000, "gzip"),
        ("gzip;q=0", 5_000, None),
        ("gzip;q=0.000, *", 5_000, None),
        ("gzip;q=0.5, identity", 5_000, None),
        ("gzip;q=1.0, identity;q=0.5", 5_000, "gzip"),
        ("*;q=0", 5_000, None),
        ("br, identity;q=0", 5_000, None),
        ("gzip;q=0.1, identity;q=0", 10, "gzip"),
        ("gzip;q=2", 5_000, None),
        ("GZIP; Q=0.8", 5_000, "gzip"),
        ("gzipped", 5_000, None),
    ],
)
def test_who_wants_it_compressed(
    daemon: Daemon, agent: str, accepted: str | None, size_bytes: int, coding: str | None
) -> None:
    """Weights count, also those of `*` and `identity`; what is small leaves as it is, unless that is refused."""
    written(daemon, agent, "x" * size_bytes)
    with daemon.connect() as connection:
        lines = [] if accepted is None else [f"Accept-Encoding: {accepted}"]
        connection.sendall(daemon.head("GET", path(agent), *lines))
        _, headers, body = read_response(connection)
    assert headers["Content-Encoding"] == coding
    assert (gzip.decompress(body) if coding else body) == b"x" * size_bytes


def test_http_1_0_gets_a_length_and_no_compression(daemon: Daemon, agent: str) -> None:
    """It knows no chunks, so that without a length nobody could tell a part from the whole."""
    written(daemon, agent, "x" * 5_000)
    with daemon.connect() as connection:
        request = daemon.head("GET", path(agent), "Accept-Encoding: gzip, identity;q=0")
        connection.sendall(request.replace(b"HTTP/1.1", b"HTTP/1.0"))
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert b"Content-Length: 5000\r\n" in received
    assert received.endswith(b"\r\n\r\n" + b"x" * 5_000)


def test_a_snapshot_is_put_as_it_is_and_answered_as_by_the_method(daemon: Daemon, agent: str) -> None:
    """Bytes, time, revision and session, and the tag that the next GET has; the same bytes again change nothing."""
    content = '{"nodes": ["é"]}\n'.encode()
    status, headers, body = put(daemon, agent, content)
    answer = json.loads(body)
    assert (status, list(answer)) == (200, ["bytes_written", "modts", "revision", "session_id"])
    assert (answer["bytes_written"], answer["revision"]) == (len(content), 1)
    assert headers["ETag"] == f'"{answer["session_id"]}-1"' == get(daemon, agent)[1]["ETag"]
    assert get(daemon, agent)[2] == content
    assert json.loads(put(daemon, agent, content)[2]) == answer
    assert put(daemon, agent, b"")[1]["ETag"] == f'"{answer["session_id"]}-2"'
    assert get(daemon, agent)[2] == b""


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_snapshot_is_put_whole(daemon: Daemon, agent: str, chunked: bool) -> None:
    """With its length or in chunks, characters cut anywhere."""
    content = "é€😀".encode() * (MIB // 3)
    if chunked:
        with daemon.connect() as connection:
            connection.sendall(daemon.head("PUT", path(agent), "Transfer-Encoding: chunked"))
            for start in range(0, len(content), 99_991):
                piece = content[start : start + 99_991]
                connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.sendall(b"0\r\n\r\n")
            assert read_response(connection)[0] == 200
    else:
        assert put(daemon, agent, content)[0] == 200
    assert get(daemon, agent)[2] == content


def test_a_put_says_what_a_snapshot_contains(daemon: Daemon, agent: str) -> None:
    """`covers_line`, `session_id` and `expect_revision` are those of `write_state`."""
    session_id = daemon.call("agent:session:append_output", definition_id=agent, lines=["a", "b"])["session_id"]
    query = f"?session_id={session_id}&expect_revision=0&covers_line=1&pretty"
    status, _, body = put(daemon, agent, b"{}", query)
    assert status == 200
    assert body.decode() == json.dumps(json.loads(body), indent=2) + "\n"
    mount = daemon.call("agent:session:mount", definition_id=agent)
    assert (mount["snapshot"]["covers_line"], mount["output"]["lines"]) == (1, ["b"])


@pytest.mark.parametrize(
    ("query", "headers", "content", "expected"),
    [
        ("?session_id=another", {}, b"new", (409, "STALE_SESSION")),
        ("?expect_revision=9", {}, b"new", (412, "REVISION_MISMATCH")),
        ("?expect_revision=0", {}, b"new", (412, "REVISION_MISMATCH")),
        ("?expect_revision=-1", {}, b"new", (400, "INVALID_PARAMS")),
        ("?expect_revision=x", {}, b"new", (400, "INVALID_PARAMS")),
        ("?expect_revision=01", {}, b"new", (400, "INVALID_PARAMS")),
        ("?covers_line=", {}, b"new", (400, "INVALID_PARAMS")),
        ("?unknown=1", {}, b"new", (400, "INVALID_PARAMS")),
        ("?content=x", {}, b"new", (400, "INVALID_PARAMS")),
        ("?covers_line=1&covers_line=1", {}, b"new", (400, "INVALID_PARAMS")),
        ("", {}, b"\xff", (400, "INVALID_PARAMS")),
        ("", {}, b"new\xc3", (400, "INVALID_PARAMS")),
        ("", {}, b"x" * 300_000 + b"\xc3", (400, "INVALID_PARAMS")),
        ("", {}, b"x" * 300_000 + b"\xed\xa0\x80" + b"x" * 300_000, (400, "INVALID_PARAMS")),
        ("", {"If-Match": '"of-another-session-1"'}, b"new", (409, "STALE_SESSION")),
        ("", {"If-Match": '"{session_id}-9", "other-1"'}, b"new", (412, "REVISION_MISMATCH")),
        ("", {"If-Match": '"something"'}, b"new", (412, "REVISION_MISMATCH")),
        ("", {"If-Match": 'W/"{session_id}-1"'}, b"new", (412, "REVISION_MISMATCH")),
        ("", {"If-Match": "{session_id}-1"}, b"new", (400, "INVALID_PARAMS")),
        ("", {"If-None-Match": "*"}, b"new", (412, "REVISION_MISMATCH")),
        ("", {"If-None-Match": 'W/"{session_id}-1"'}, b"new", (412, "REVISION_MISMATCH")),
        ("?expect_revision=2", {"If-Match": "*"}, b"new", (412, "REVISION_MISMATCH")),
        ("?session_id=another", {"If-Match": "*"}, b"new", (409, "STALE_SESSION")),
        ("", {"Content-Range": "bytes 0-2/9"}, b"new", (400, "INVALID_PARAMS")),
    ],
)
def test_a_put_that_is_refused_changes_nothing(
    daemon: Daemon, agent: str, query: str, headers: dict[str, str], content: bytes, expected: tuple[int, str]
) -> None:
    """The word is that of the method, and what was stored is stored as it was."""
    tag = written(daemon, agent, "old")
    session_id = tag.strip('"').rpartition("-")[0]
    sent = {name: value.format(session_id=session_id) for name, value in headers.items()}
    assert said(daemon.request("PUT", path(agent) + query, content, sent)) == expected
    _, shown, body = get(daemon, agent)
    assert (shown["ETag"], body) == (tag, b"old")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({"If-Match": "*"}, (412, "REVISION_MISMATCH")), ({"If-Match": '"some-session-1"'}, (409, "STALE_SESSION"))],
)
def test_if_match_makes_no_first_snapshot(
    daemon: Daemon, agent: str, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    """Neither for a fresh agent, nor in a session that has output alone."""
    assert said(daemon.request("PUT", path(agent), b"new", headers)) == expected
    daemon.call("agent:session:append_output", definition_id=agent, line="x")
    assert said(daemon.request("PUT", path(agent), b"new", headers)) == expected
    assert get(daemon, agent)[0] == 404


def test_conditions_that_are_met_let_a_put_through(daemon: Daemon, agent: str) -> None:
    """`If-None-Match: *` the first, and then the tag of the one before, `*`, or the tag of it compressed."""
    tag = put(daemon, agent, b"1" * 2_000, If_None_Match="*")[1]["ETag"]
    tag = put(daemon, agent, b"2" * 2_000, If_Match=f'"other-7", {tag}')[1]["ETag"]
    tag = put(daemon, agent, b"3" * 2_000, If_Match="*", If_None_Match='"other-7"')[1]["ETag"]
    compressed = get(daemon, agent, Accept_Encoding="gzip")[1]["ETag"]
    assert compressed != tag
    assert put(daemon, agent, b"4" * 2_000, If_Match=compressed)[1]["ETag"].endswith('-4"')


def test_of_two_puts_bound_to_one_revision_one_wins(daemon: Daemon, agent: str) -> None:
    """However many come at once: the others are told, and no write is lost."""
    tag = written(daemon, agent, "0")
    for round_number in range(10):
        answers: list[tuple[int, str | None, bytes]] = []

        def send(content: bytes, tag: str = tag, answers: list[tuple[int, str | None, bytes]] = answers) -> None:
            status, headers, _ = put(daemon, agent, content, If_Match=tag)
            answers.append((status, headers["ETag"], content))

        senders = [threading.Thread(target=send, args=(b"%d-%d" % (round_number, each),)) for each in range(4)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        ((_, winner, content),) = [answer for answer in answers if answer[0] == 200]
        assert sorted(status for status, _, _ in answers) == [200, 412, 412, 412]
        _, headers, stored = get(daemon, agent)
        assert (headers["ETag"], stored) == (winner, content)
        tag = str(winner)


def test_puts_that_only_want_something_to_be_there_all_win(daemon: Daemon, agent: str) -> None:
    """`If-Match: *` does not mind who wrote in between."""
    written(daemon, agent, "0")
    statuses: list[int] = []
    senders = [
        threading.Thread(
            target=lambda each=each: statuses.append(put(daemon, agent, b"put %d" % each, If_Match="*")[0])
        )
        for each in range(8)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert statuses == [200] * 8
    assert get(daemon, agent)[1]["X-Revision"] == "9"


def test_a_page_may_put_after_its_preflight(daemon: Daemon, agent: str) -> None:
    """A browser asks before any PUT, and is told the methods and headers; the answer shows it tag and session."""
    sent = {"Origin": ORIGIN, "Content-Type": "text/plain", "If-None-Match": "*"}
    status, headers, _ = daemon.request("PUT", path(agent), b"{}", sent)
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, ORIGIN)
    exposed = headers["Access-Control-Expose-Headers"].split(", ")
    assert {"ETag", "X-Session-Id", "X-Revision", "X-Total-Lines", "Content-Range"} <= set(exposed)
    assert daemon.request("PUT", path(agent), b"{}", {"Origin": "http://evil.example"})[0] == 403


def test_a_snapshot_that_is_too_large_is_refused_unread(daemon: Daemon, agent: str) -> None:
    """From the size that is declared, in place of the go-ahead, with the limit's name as of the method; or once it is there."""
    with daemon.connect() as connection:
        connection.sendall(daemon.head("PUT", path(agent), f"Content-Length: {4 * MIB + 1}", "Expect: 100-continue"))
        answer = read_response(connection)
    assert said(answer) == (413, "TOO_LARGE")
    assert json.loads(answer[2]).items() >= {"limit": "snapshot_bytes_max", "max": 4 * MIB}.items()
    with daemon.connect() as connection:
        connection.sendall(daemon.head("PUT", path(agent), "Transfer-Encoding: chunked"))
        connection.sendall(b"%x\r\n%b\r\n" % (4 * MIB + 1, b"x" * (4 * MIB + 1)))
        assert said(read_response(connection)) == (413, "TOO_LARGE")
    assert put(daemon, agent, b"x" * 4 * MIB)[0] == 200


def test_what_is_no_text_is_refused_as_soon_as_it_shows(daemon: Daemon, agent: str) -> None:
    """The rest is not waited for."""
    with daemon.connect() as connection:
        connection.sendall(daemon.head("PUT", path(agent), f"Content-Length: {MIB}") + b"text \xff")
        answer = read_response(connection)
    assert said(answer) == (400, "INVALID_PARAMS")
    assert json.loads(answer[2])["param"] == "content"


def test_the_token_that_only_reads_gets_and_does_not_put(daemon: Daemon, agent: str) -> None:
    """READ_ONLY, before anything of the body is read."""
    written(daemon, agent, "{}")
    shown = {"Authorization": f"Bearer {(daemon.data_dir / 'auth.read.token').read_text().strip()}"}
    assert daemon.request("GET", path(agent), None, shown)[2] == b"{}"
    assert said(daemon.request("PUT", path(agent), b"[]", shown)) == (403, "READ_ONLY")
    assert get(daemon, agent)[2] == b"{}"
    assert daemon.request("GET", path(agent), token=False)[0] == 401
    assert daemon.request("PUT", path(agent), b"[]", token=False)[0] == 401


def test_reads_and_writes_are_counted_beside_the_calls(daemon: Daemon, agent: str) -> None:
    """By how they came out; and a storage failure is told to the log, without what it holds."""

    def counted() -> dict[tuple[str, str], int]:
        calls = daemon.call("srv:status")["calls"]
        return {(verb, word): calls.get(verb, {}).get(word, 0) for verb, word in expected}

    expected = [
        *(("file:read", "ok"), ("file:read", "ZONE_NOT_FOUND"), ("file:read", "INVALID_PARAMS")),
        *(("file:write", "ok"), ("file:write", "REVISION_MISMATCH"), ("file:write", "INVALID_PARAMS")),
    ]
    before = counted()
    get(daemon, agent)
    put(daemon, agent, b"{}")
    put(daemon, agent, b"[]", "?expect_revision=9")
    put(daemon, agent, b"[]", "?unknown=9")
    get(daemon, agent)
    get(daemon, agent, If_Match="unquoted")
    assert {key: count - before[key] for key, count in counted().items()} == dict.fromkeys(expected, 1)


def test_a_session_id_that_somebody_else_has_stored_writes_no_headers(daemon: Daemon, agent: str) -> None:
    """What could end a line is taken for damage."""
    written(daemon, agent)
    with meddling(store_of(daemon.data_dir)) as connection:
        connection.execute(
            "UPDATE zones SET session_id = 'x' || char(13, 10) || 'Evil: 1' WHERE definition_id = ?", (agent,)
        )
    answer = get(daemon, agent)
    assert said(answer) == (500, "STORAGE_DAMAGED")
    assert answer[1]["Evil"] is None


def test_a_compressed_body_is_refused(daemon: Daemon, agent: str) -> None:
    """What is stored is what was sent."""
    assert put(daemon, agent, gzip.compress(b"{}"), Content_Encoding="gzip")[0] == 415
    assert get(daemon, agent)[0] == 404
