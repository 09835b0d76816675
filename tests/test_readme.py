"""The README says what is so: its commands run and print what it shows, and its tables are those of the code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from rpc.errors import INTERNAL, NUMBERS
from srv.doctor_report import State
from srv.exits import Exit
from srv.file_errors import STATUSES
from srv.metric_families import FAMILIES, markdown_table
from srv.slow_calls import STAGES
from store import errors, limits
from tests.legacy_dirs import populate
from tests.litestream import copies, replicating
from tests.node import programs

ROOT: Final = Path(__file__).resolve().parent.parent
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")

_VARIES: Final = {"session_id", "modts", "archived_at_ms", "archive_zoneid", "url", "pid", "token_file"}
"""Members whose value is another one in every run; the same value in the README must be the same value in the run."""

_ON_MACOS: Final = ("~/.local/share/zonekeeper", "~/Library/Application\\ Support/zonekeeper")


def sections() -> dict[str, str]:
    """Return the text under each heading. A `#` within a fenced block is no heading."""
    found: dict[str, str] = {}
    fenced = False
    title = ""
    for line in README.splitlines(keepends=True):
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            title = line.strip("# \n")
        found[title] = found.get(title, "") + ("" if line.startswith("#") and not fenced else line)
    return found


def blocks(section: str, language: str = "sh") -> list[str]:
    """Return the fenced blocks of a section."""
    return re.findall(rf"^```{language}\n(.*?)^```$", sections()[section], re.MULTILINE | re.DOTALL)


def rows(section: str) -> list[list[str]]:
    """Return the cells of a section's table, without its header."""
    lines = [line for line in sections()[section].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def steps(block: str) -> list[tuple[str, Any]]:
    """Return the commands of a block in order, each with the JSON that `#>` lines after it show, or None."""
    found: list[tuple[str, Any]] = []
    for commands, shown in re.findall(r"((?:^(?!#>).*\n)+)((?:^#>.*\n)*)", block, re.MULTILINE):
        text = "".join(line.removeprefix("#>") for line in shown.splitlines())
        found.append((commands, json.loads(text) if text else None))
    return found


def differences(shown: Any, real: Any, same: dict[Any, Any], member: str = "") -> Iterator[str]:
    """Compare what the README shows with what came, and say where they differ. `same` pairs the values that vary."""
    match shown, real:
        case dict(), dict() if shown.keys() == real.keys():
            for key in shown:
                yield from differences(shown[key], real[key], same, key)
        case list(), list() if len(shown) == len(real):
            for one, other in zip(shown, real, strict=True):
                yield from differences(one, other, same, member)
        case _ if member in _VARIES and type(shown) is type(real) and same.setdefault(shown, real) == real:
            return
        case _ if shown != real or type(shown) is not type(real):
            yield f"{member}: the README shows {shown!r}, and there was {real!r}"


def environment(home: Path) -> dict[str, str]:
    """Return the environment of somebody who has just cloned the repository, on a free port."""
    strip = ("ZONEKEEPER_", "XDG_", "MAKE", "MFLAGS", "ARGS", "VENV")  # the last four are set where make runs the tests
    kept = {name: value for name, value in os.environ.items() if not name.startswith(strip)}
    return {**kept, "HOME": str(home), "ZONEKEEPER_PORT": "0"}


def in_this_place(command: str) -> str:
    """Turn a command of the README into one that uses the virtual environment of this run and leaves it as it is."""
    stamps = " ".join(f"--old-file={sys.prefix}/{stamp}" for stamp in (".locked", ".installed"))
    command = re.sub(r"^make ", f"make VENV={sys.prefix} {stamps} ", command, flags=re.MULTILINE)
    command = re.sub(r"^\.venv/", f"{sys.prefix}/", command, flags=re.MULTILINE)
    command = command.replace("$PWD/.venv/", f"{sys.prefix}/")
    return command.replace(*_ON_MACOS) if sys.platform == "darwin" else command


@contextmanager
def started(command: str, home: Path) -> Iterator[list[dict[str, Any]]]:
    """Run a command of the README that starts the daemon; yields what it says up to the line that it listens."""
    with subprocess.Popen(
        in_this_place(command), shell=True, cwd=ROOT, env=environment(home), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said: list[dict[str, Any]] = []
        for line in process.stdout:
            said.append(json.loads(line))
            if said[-1]["event"] == "listening":
                break
        try:
            yield said
        finally:
            os.kill(said[-1]["pid"], signal.SIGTERM)
            assert process.wait(30) == 0


def run(block: str, home: Path, port: str) -> list[tuple[Any, str]]:
    """Run the commands of a block in one shell; returns what the README shows after each, and what it printed."""
    script = "".join(f"{commands}printf '\\0'\n" for commands, _ in steps(block))
    script = in_this_place(script.replace("127.0.0.1:8377", f"127.0.0.1:{port}"))
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environment(home), check=True, capture_output=True, text=True)
    return list(zip((shown for _, shown in steps(block)), done.stdout.split("\0"), strict=False))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def port(home: Path) -> Iterator[str]:
    """The port of a daemon that was started as the README says, by its first command."""
    with started(blocks("Zonekeeper")[0], home) as said:
        yield said[-1]["url"].rpartition(":")[2]


def test_the_first_commands_are_those_that_set_everything_up() -> None:
    """The README begins with what it is, `make run` starts the daemon and `make test` runs the tests."""
    first = sections()["Zonekeeper"]
    assert first.strip().startswith("Zonekeeper is ")
    assert blocks("Zonekeeper")[0] == "make run\n"
    assert "make test\n" in blocks("Zonekeeper")


def test_the_curl_commands_print_what_the_readme_shows(home: Path, port: str) -> None:
    """Write, append, read, archive and list work as they stand; what varies varies as one."""
    block = blocks("Zonekeeper")[1]
    methods = re.findall(r'"agent:session:(\w+)"', block)
    assert methods == ["write_state", "append_output", "read", "archive", "list_archives"]
    same: dict[Any, Any] = {}
    for shown, printed in run(block, home, port):
        assert list(differences(shown, json.loads(printed), same)) == []


def test_the_recipes_for_large_things_do_what_they_say(home: Path, port: str) -> None:
    """Each prints what is shown, files come and go whole, and what is unchanged is not sent again."""
    (block,) = blocks("Large things the plain way")
    same: dict[Any, Any] = {}
    printed = run(block, home, port)
    for shown, text in printed:
        assert shown is None or list(differences(shown, json.loads(text), same)) == []
    assert printed[2][1].count("\n") == 12
    head, _, tail = printed[3][1].partition("\n\n")
    assert "X-Total-Lines: 2" in head.splitlines()
    assert tail == '{"type": "result"}\n'
    assert (home / "olga.etag").read_text(encoding="utf-8").strip().endswith('-1"')
    for name in ("olga.ndjson", "olga.part"):
        assert (home / name).read_text(encoding="utf-8") == '{"type": "user"}\n{"type": "result"}\n'


def test_the_statuses_of_files_are_those_of_the_code() -> None:
    """Every word has its status."""
    text = sections()["Large things the plain way"].rpartition("with status")[2].replace("INVALID_…", "INVALID_PARAMS")
    shown: dict[str, int] = {}
    for status, words in re.findall(r"(\d{3})\s(.*?)(?=\d{3}\s|; and)", text, re.DOTALL):
        shown |= dict.fromkeys(re.findall("`([A-Z_]+)`", words), int(status))
    assert shown | {"INVALID_DEFINITION_ID": shown["INVALID_PARAMS"]} == STATUSES


def test_the_other_commands_of_the_first_screen_run(home: Path, port: str) -> None:
    """`make test` runs pytest, and the command line finds the running daemon by itself."""
    client, test = blocks("Zonekeeper")[2:]
    planned = run(test.replace("make ", "make --dry-run "), home, port)[0][1]
    assert "-m pytest" in planned
    assert "version" in run(client, home, port)[0][1]


def test_the_first_screen_ends_with_the_sections_in_their_order() -> None:
    """Whoever looks for something finds it there, and every link within the page leads somewhere."""
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-"): title for title in sections() if title}
    contents = re.findall(r"\[(.+?)\]\(#(.+?)\)", sections()["Zonekeeper"])
    assert [title for title, _ in contents] == [title for title in sections() if title not in {"", "Zonekeeper"}]
    assert all(anchors[anchor] == title for title, anchor in contents)
    assert set(re.findall(r"\]\(#(.+?)\)", README)) <= set(anchors)


def test_the_recipes_of_the_command_line_do_what_they_say(home: Path, port: str) -> None:
    """Each prints what the next one needs, and leaves its files."""
    (block,) = blocks("From the command line")
    printed = run(block, home, port)[0][1]
    lines = printed.splitlines()
    assert lines[:3] == [
        "appended 36 bytes; the output has 2 lines, 36 bytes",
        '{"type": "user"}',
        '{"type": "result"}',
    ]
    assert [re.sub(" of session .+", "", line) for line in lines[3:5]] == ["wrote 14 bytes; revision 1"] * 2
    assert re.fullmatch("archived at [0-9]{13}", lines[5])
    assert re.search(r"^mira +- +- +0 bytes +0 +1 +-$", printed, re.MULTILINE)
    assert re.search(r"^[0-9]{13} +\d+ s +50 bytes +2$", printed, re.MULTILINE)
    assert '{"nodes": []}' in lines
    assert "printf 'X-AuthKey: %s\\n'" in printed
    assert '"result":{"version"' in printed
    assert (home / "mira.json").read_text(encoding="utf-8") == '{"nodes": []}\n'
    assert (home / "mira.ndjson").read_text(encoding="utf-8") == '{"type": "user"}\n{"type": "result"}\n'


def test_the_token_that_only_reads_opens_what_the_readme_shows(home: Path, port: str) -> None:
    """It is where the README says, and readiness may be asked with it."""
    ((shown, printed), *_) = run(blocks("Who may call")[0], home, port)
    assert json.loads(printed) == shown


def test_other_machines_are_let_in_as_the_readme_says(tmp_path: Path) -> None:
    """The command starts a daemon that speaks TLS on every address."""
    (tmp_path / "tls").mkdir()
    leaf = trustme.CA().issue_cert("zones.example")
    leaf.private_key_pem.write_to_path(tmp_path / "tls" / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "tls" / "cert.pem")
    with started(blocks("Who may call")[1], tmp_path) as said:
        assert said[-1]["url"].startswith("https://")


@pytest.fixture
def agentmux(tmp_path: Path) -> Path:
    """A home with the data directory of an AgentMux installation in it."""
    populate(tmp_path / "agentmux", 12, 3)
    return tmp_path


def test_the_migration_commands_tell_and_then_do_what_they_told(agentmux: Path) -> None:
    """The first command says what there is and changes nothing; the second serves it."""
    rehearse, serve = blocks("Coming from AgentMux")[0].splitlines(keepends=True)
    before = {path: path.read_bytes() for path in agentmux.rglob("*") if path.is_file()}
    ((_, printed),) = run(rehearse, agentmux, "0")[:1]
    assert {path: path.read_bytes() for path in agentmux.rglob("*") if path.is_file()} == before
    (scanned,) = re.findall(r"blocks scanned +(\d+)", printed)
    with started(serve, agentmux) as said:
        assert any(event["event"] == "migrating" for event in said)
        status = run(".venv/bin/zonekeeper status --json --data-dir ~/agentmux\n", agentmux, "0")[0][1]
    assert f'"blocks_scanned": {scanned}' in status
    filestore = agentmux / "agentmux" / "db" / "filestore.db"
    assert filestore.read_bytes() == before[filestore]


def test_the_doctor_s_command_says_what_is_in_order(home: Path, port: str) -> None:
    """Beside the daemon that the first command started."""
    (printed,) = (printed for _, printed in run(blocks("Is everything in order?")[0], home, port) if printed)
    assert "everything is in order" in printed


def test_the_commands_of_the_first_bad_night_show_how_it_is_and_save_what_there_is(home: Path, port: str) -> None:
    """Status, doctor, room on the disk, and a copy; in the status stands every member that the table speaks of."""
    section = "When something is wrong: the first bad night"
    (block,) = blocks(section)
    run(block, home, port)
    assert [path.suffix for path in (home / "backups").iterdir()] == [".db"]
    ((_, printed),) = run(".venv/bin/zonekeeper status\n", home, port)[:1]
    named = re.findall(r"`((?:store|writer|transport|event_loop)\.\w+)`", sections()[section])
    assert {name for name in named if name != "transport.refused"} <= set(printed.split())
    assert "free_space.free_bytes" in printed


def test_the_command_that_shows_the_metrics_shows_them(home: Path, port: str) -> None:
    """With the token that only reads."""
    (block,) = blocks("Metrics")
    assert "zonekeeper_build_info{" in run(block, home, port)[0][1]


def test_the_metrics_are_those_of_the_code() -> None:
    """The table is what `python -m srv.metric_families` prints, and what else names a metric names one of these."""
    between = README.partition("<!-- metrics -->\n")[2].partition("<!-- /metrics -->")[0]
    assert between == markdown_table() + "\n"
    names = {row.full_name for row in FAMILIES}
    series = {re.sub("_(bucket|count|sum)$", "", name) for name in re.findall(r"\bzonekeeper_[a-z_]+", README)}
    assert series == names


def test_the_stages_of_slow_calls_are_those_of_the_code() -> None:
    """Each has its row, in the order in which a request goes through them."""
    found = re.findall(
        r"^\|((?: `\w+_ms`,?)+) \|", sections()["When something is wrong: the first bad night"], re.MULTILINE
    )
    stages = [stage for row in found for stage in re.findall(r"`(\w+)_ms`", row)]
    assert sorted(stages) == sorted([*(stage for stage in STAGES if stage != "sync"), "other"])


def test_the_members_of_the_doctor_s_report_are_those_of_the_code(home: Path, port: str) -> None:
    """Each has its row, and those of the rows that have members name them."""
    ((_, printed), *_) = run(".venv/bin/zonekeeper doctor --json\n", home, port)
    report = json.loads(printed)
    shown = {name: row[1] for row in rows("Is everything in order?") for name in re.findall(r"`(\w+)`", row[0])}
    assert list(shown) == list(report)
    assert re.findall(r"`(\w+)`", shown["store"]) == list(report["store"])
    assert re.findall(r"`(\w+)`", shown["environment"]) == list(report["environment"])
    in_checks = re.findall(r"`(\w+)`", shown["checks"])
    assert set(report["checks"][0]) <= set(in_checks)
    assert set(in_checks) - set(report["checks"][0]) == {"store", "migration", "environment", *State}


BACKUPS: Final = "Backups and restores"
APPEND: Final = '.venv/bin/zonekeeper call agent:session:append_output \'["maks", "{}"]\'\n'
READ: Final = ".venv/bin/zonekeeper call agent:session:read_output '[\"maks\"]'\n"


def lines_now(home: Path) -> list[str]:
    """Return the output of an agent, from the daemon of that home."""
    found: list[str] = json.loads(run(READ, home, "0")[0][1])["lines"]
    return found


def test_a_backup_made_and_restored_as_the_readme_says_is_the_store_it_was(tmp_path: Path) -> None:
    """Made while the daemon runs; what was written afterwards is gone once it is restored, and callers are told so."""
    make_one, restore = blocks(BACKUPS)[:2]
    with started("make run\n", tmp_path):
        run(APPEND.format("before"), tmp_path, "0")
        run(make_one, tmp_path, "0")
        run(APPEND.format("after"), tmp_path, "0")
        assert lines_now(tmp_path) == ["before", "after"]
    run(restore, tmp_path, "0")
    with started("make run\n", tmp_path):
        assert lines_now(tmp_path) == ["before"]
        known = '{"definition_id": "maks", "line": "more", "expect_offset": 13}'
        again = f".venv/bin/zonekeeper call agent:session:append_output '{known}' 2>&1 || true\n"
        assert "OFFSET_MISMATCH" in run(again, tmp_path, "0")[0][1]


def test_a_store_that_litestream_copies_is_restored_as_the_readme_says(tmp_path: Path) -> None:
    """At an instant; as it was last tests/system/test_litestream.py restores it."""
    replicate, restore = blocks(BACKUPS)[2:4]
    program = f"{sys.prefix}/bin/litestream"
    command = ["bash", "-euc", in_this_place(replicate).replace(program, f"exec {program}")]
    with replicating(command, environment(tmp_path), signal.SIGTERM) as wait_until:
        wait_until(lambda line: b'"event": "listening"' in line and line.startswith(b"{"))
        wait_until(lambda _: bool(list(tmp_path.glob("replica/*/ltx/0/*.ltx"))))
        (replica,) = (tmp_path / "replica").iterdir()
        run(APPEND.format("before"), tmp_path, "0")
        before = copies(replica)
        wait_until(lambda _: copies(replica) > before)
        at = datetime.now(UTC)
        run(APPEND.format("after"), tmp_path, "0")
    (shown,) = re.findall("`(-timestamp) [0-9TZ:-]+`", sections()[BACKUPS])
    timed = restore.replace("restore -o", f"restore {shown} {at:%Y-%m-%dT%H:%M:%S.%fZ} -o")
    assert "everything is in order" in "".join(printed for _, printed in run(timed, tmp_path, "0"))
    with started("make run\n", tmp_path):
        assert lines_now(tmp_path) == ["before"]


def test_a_parent_reads_what_the_readme_shows_and_its_end_stops_the_daemon(agentmux: Path) -> None:
    """The lines on standard output have the members that are shown; the end of standard input ends the daemon, with 0."""
    (command,) = re.findall(r"`(zonekeeper serve .*?)`", sections()["Under a parent process"])
    shown = [json.loads(line) for line in blocks("Under a parent process", "json")[0].splitlines()]
    members = {event["event"]: event.keys() for event in shown}
    assert list(members) == ["migrating", "listening"]
    arguments = [f"{sys.prefix}/bin/zonekeeper", *command.split()[1:], "--data-dir", str(agentmux / "agentmux")]
    with subprocess.Popen(
        arguments, env=environment(agentmux), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        kinds = set()
        for event in map(json.loads, parent.stdout):
            kinds.add(event["event"])
            assert event.keys() == members[event["event"]]
            if event["event"] == "listening":
                parent.stdin.close()
        assert parent.wait() == 0
    assert kinds == members.keys()


def test_the_program_in_javascript_prints_what_the_readme_shows(home: Path, port: str) -> None:
    """It finds the daemon that the first command started, and gets on with it as it stands."""
    (program,) = blocks("From JavaScript and TypeScript", "js")
    if sys.platform == "darwin":
        program = program.replace(*(path.removeprefix("~").replace("\\", "") for path in _ON_MACOS))
    printed = programs.run("--input-type=module", "--eval", program, HOME=str(home))
    assert printed.splitlines() == re.findall(r"^//> (.*)$", program, re.MULTILINE)


def test_the_program_in_python_prints_what_the_readme_shows(home: Path, port: str) -> None:
    """It finds the daemon that the first command started."""
    (program,) = blocks("From Python", "python")
    (shown,) = blocks("From Python", "text")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment(home), check=True, capture_output=True, text=True
    )
    assert done.stdout == shown


def test_the_units_are_where_systemctl_looks_for_them(tmp_path: Path) -> None:
    """What is printed for the service and for its sockets starts this command, and every `systemctl` names one of the two."""
    commands = "".join(blocks("Under systemd")).splitlines(keepends=True)
    run("".join(command for command in commands if not command.startswith("systemctl ")), tmp_path, "0")
    units = {path.name: path.read_text() for path in (tmp_path / ".config" / "systemd" / "user").iterdir()}
    assert units.keys() == {"zonekeeper.service", "zonekeeper.socket"}
    assert f'ExecStart=":{sys.prefix}/bin/zonekeeper" serve --data-dir "{tmp_path}' in units["zonekeeper.service"]
    (addresses,) = re.findall(r"on port (\d+) of ([\d.]+) and on the Unix socket `(\S+)`", sections()["Under systemd"])
    socket_path = addresses[2].replace("$XDG_RUNTIME_DIR", "%t")
    listens = re.findall(r"^ListenStream=(.*)$", units["zonekeeper.socket"], re.MULTILINE)
    assert listens == [f"{addresses[1]}:{addresses[0]}", socket_path]
    asked = [command.split() for command in commands if command.startswith("systemctl ")]
    assert {tuple(words[:2]) for words in asked} == {("systemctl", "--user")}
    verbs = {words[2]: words[-1] for words in asked}
    assert verbs.pop("daemon-reload") == "daemon-reload"
    assert {name if "." in name else f"{name}.service" for name in verbs.values()} == units.keys()


def test_no_section_has_commands_that_no_test_runs() -> None:
    """The container's are run by test_dockerfile.py, PostgreSQL's by postgres/test_{restores,moving}.py, others here."""
    assert {name for name in sections() if blocks(name, "python")} == {"From Python"}
    assert {name for name in sections() if blocks(name, "js")} == {"From JavaScript and TypeScript"}
    with_commands = {name for name in sections() if blocks(name)}
    assert with_commands == {
        *(
            "Zonekeeper",
            "From the command line",
            "Who may call",
            "Large things the plain way",
            "Under systemd",
            "In a container",
            "Coming from AgentMux",
            "When something is wrong: the first bad night",
            "Is everything in order?",
            "Metrics",
            "Backups and restores",
            "Moving to another store",
        ),
    }


def test_the_settings_are_those_of_the_code() -> None:
    """The table is what `python -m srv.config` prints."""
    command = [sys.executable, "-m", "srv.config"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    between = README.partition("<!-- settings -->\n")[2].partition("<!-- /settings -->")[0]
    assert between == printed


def methods() -> list[Mapping[str, Any]]:
    """Return the methods of the OpenRPC document."""
    document = json.loads((ROOT / "rpc" / "openrpc.json").read_text(encoding="utf-8"))
    found: list[Mapping[str, Any]] = document["methods"]
    return found


def test_the_methods_are_those_of_the_openrpc_document() -> None:
    """Every method has its row, with its parameters in their order, and `?` after those that may be left out."""
    shown = [
        (row[0].strip("`"), re.findall(r"\w+\??", row[1].replace("line **or** lines", "line?, lines?")))
        for row in rows("Methods")
    ]
    assert shown == [(method["name"], [_parameter(each) for each in method["params"]]) for method in methods()]


def _parameter(parameter: Mapping[str, Any]) -> str:
    return parameter["name"] if parameter.get("required") else f"{parameter['name']}?"


def test_the_errors_are_those_of_the_code() -> None:
    """Every error has its row: word, number and whether to try again."""
    shown = {row[0].strip("`"): (int(row[1]), row[2] == "yes") for row in rows("Errors")}
    retry = {error.word: error.retry for error in _subclasses(errors.StoreError)}
    assert shown.pop(INTERNAL) == (-32603, False)
    assert shown == {word: (number, retry[word]) for word, number in NUMBERS.items()}


def _subclasses(kind: type[errors.StoreError]) -> list[type[errors.StoreError]]:
    return [found for each in kind.__subclasses__() for found in (each, *_subclasses(each))]


def test_the_exit_codes_are_those_of_the_code() -> None:
    """Every code a process can end with has its row."""
    assert [int(row[0]) for row in rows("Exit codes")] == sorted(Exit)


def test_the_fixed_limits_are_those_of_the_code() -> None:
    """Each figure of the last section stands in store/limits.py."""
    shown = re.findall(r"\b\d[\d,]*(?: MiB)?", sections()["Limits"].partition("Fixed are")[2].partition("Zero")[0])
    mib = [f"{size // limits.MIB} MiB" for size in (limits.READ_BYTES_DEFAULT, limits.READ_BYTES_MAX)]
    assert [each.rstrip(",") for each in shown] == [
        f"{limits.DEFINITION_ID_CHARACTERS_MAX}",
        *(f"{each}" for each in (limits.READ_ARCHIVES_DEFAULT, limits.READ_ARCHIVES_MAX)),
        *(f"{each:,}" for each in (limits.READ_LINES_DEFAULT, limits.READ_LINES_MAX)),
        *mib,
        *(f"{each:,}" for each in (limits.MOUNT_LINES_DEFAULT, limits.READ_LINES_MAX, limits.STAT_DEFINITIONS_MAX)),
        *(f"{each:,}" for each in (limits.LIST_AGENTS_DEFAULT, limits.LIST_AGENTS_MAX)),
    ]


def test_a_difference_between_readme_and_run_is_seen() -> None:
    """The comparison lets only those values vary that must, and those together."""
    assert list(differences({"modts": 1, "a": {"modts": 1}}, {"modts": 5, "a": {"modts": 5}}, {})) == []
    assert list(differences({"modts": 1, "a": {"modts": 1}}, {"modts": 5, "a": {"modts": 6}}, {}))
    assert list(differences({"size_bytes": 1}, {"size_bytes": 2}, {}))
    assert list(differences({"modts": 1}, {"modts": "1"}, {}))
    assert list(differences({"a": 1}, {"a": 1, "b": 2}, {}))
    assert list(differences([1], [], {}))
    assert list(differences({"duplicate": False}, {"duplicate": 0}, {}))
