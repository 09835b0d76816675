"""The image, as far as that can be known without a Docker engine: its steps are the Makefile's, and what they make runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement

from tests.srv.outside import needs

ROOT: Final = Path(__file__).resolve().parent.parent
_PIP: Final = re.compile(r"-m pip install (.*?)(?: -r (\S+)| (?:-e )?\.)(?= |$)")


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions in order, continuation lines joined, comments left out."""
    lines = [
        line for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage, its FROM first."""
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


def values(word: str) -> list[str]:
    """Return what the last stage says under that word."""
    return [rest for each, rest in stages()[-1] if each == word]


def environment() -> dict[str, str]:
    """Return the variables that the last stage sets."""
    return dict(rest.split("=", 1) for rest in values("ENV"))


def test_there_are_two_stages_on_one_slim_base() -> None:
    """The build tools stay behind: the second stage takes the environment of the first and installs nothing."""
    build, final = stages()
    assert build[0][1] == "python:${PYTHON}-slim AS build"
    assert final[0][1] == "python:${PYTHON}-slim"
    assert values("COPY") == ["--from=build /opt/zonekeeper /opt/zonekeeper"]
    assert not any(word in rest for word in ("pip ", "apt") for rest in values("RUN"))


def test_the_base_is_a_python_that_the_package_and_the_lock_support() -> None:
    """The default of PYTHON is one of the versions that pyproject.toml names."""
    version = next(rest for word, rest in instructions() if word == "ARG").removeprefix("PYTHON=")
    assert f'"Programming Language :: Python :: {version}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_install_steps_are_those_of_the_makefile() -> None:
    """Both install the lock first and the package then, with the same options; the image's package is not editable."""
    makefile = [match.groups() for match in _PIP.finditer((ROOT / "Makefile").read_text(encoding="utf-8"))]
    dockerfile = [match.groups() for word, rest in stages()[0] if word == "RUN" for match in _PIP.finditer(rest)]
    assert [options for options, _ in dockerfile] == [options for options, _ in makefile]
    assert [locked for _, locked in makefile] == ["requirements.lock", None]
    assert [locked for _, locked in dockerfile] == ["runtime.lock", None]
    assert "--require-hashes" in dockerfile[0][0]


def test_the_image_installs_the_runtime_part_of_the_lock() -> None:
    """What the Dockerfile cuts off the lock are the tools of development and nothing that the daemon needs."""
    cut = next(rest.split(" > ")[0] for word, rest in stages()[0] if word == "RUN" and rest.startswith("sed"))
    lock = subprocess.run(cut, shell=True, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    pinned = {Requirement(line.rstrip(" \\")).name for line in lock.splitlines() if line and line[0] not in " #"}
    assert {"aiohttp", "asyncpg", "jsonrpcserver", "setuptools"} <= pinned
    assert not {"pytest", "mypy", "ruff", "uv"} & pinned


def test_it_runs_as_a_user_of_a_fixed_number_that_owns_the_volume() -> None:
    """The daemon is not root, and the volume is there before the user is."""
    (user,) = values("USER")
    assert re.fullmatch(r"([1-9]\d{3,}):\1", user)
    (made,) = values("RUN")
    assert f"--uid {user.split(':')[0]} " in made
    assert "--owner zonekeeper --group zonekeeper --mode 0700 /data" in made
    assert values("VOLUME") == ["/data"]
    words = [word for word, _ in stages()[-1]]
    assert words.index("RUN") < words.index("VOLUME")


def test_it_says_how_it_is_started_and_reached() -> None:
    """The command is the daemon on the volume; other arguments replace it, and `docker exec` finds the running daemon."""
    assert values("ENTRYPOINT") == ['["zonekeeper"]']
    assert values("CMD") == ['["serve", "--data-dir", "/data"]']
    assert values("EXPOSE") == ["8377"]
    assert environment()["ZONEKEEPER_DATA_DIR"] == "/data"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image holds: the package installed by the Dockerfile's last step, out of what .dockerignore lets through."""
    work = tmp_path_factory.mktemp("image")
    context, installed = work / "build", work / "installed"
    context.mkdir()
    for name in (name for word, rest in stages()[0] if word == "COPY" for name in rest.split()[:-1]):
        assert _is_sent(name), f".dockerignore keeps {name} back"
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, context / name)
    step = next(
        match for word, rest in stages()[0] if word == "RUN" for match in _PIP.finditer(rest) if match[2] is None
    )
    options = step[1].split()
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(installed), "."]
    subprocess.run(command, cwd=context, check=True, capture_output=True)
    return installed


def _is_sent(name: str) -> bool:
    """Tell whether .dockerignore lets a name of the top level through."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#") and fnmatch(name, line.removeprefix("!")):
            sent = line.startswith("!")
    return sent


def inside(image: Path, data: Path) -> dict[str, str]:
    """Return the variables of a container whose `/data` is that directory."""
    said = {name: value.replace("/data", str(data)) for name, value in environment().items() if name != "PATH"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ZONEKEEPER_")}
    return {**kept, **said, "PYTHONPATH": str(image), "ZONEKEEPER_PORT": "0"}


@contextmanager
def container(image: Path, data: Path, *wrapper: str) -> Iterator[dict[str, Any]]:
    """Run the image's command, within another where one is given; yields the ready line."""
    arguments = [each.replace("/data", str(data)) for each in json.loads(values("CMD")[0])]
    command = [*wrapper, sys.executable, "-m", "srv", *arguments]
    with subprocess.Popen(command, cwd=data, env=inside(image, data), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield next(event for event in map(json.loads, process.stdout) if event["event"] == "listening")
        finally:
            # What made the namespaces heeds no signal, and ends as what it has started does.
            inner = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split() if wrapper else []
            os.kill(int(inner[0]) if inner else process.pid, signal.SIGTERM)
            assert process.wait(30) == 0


@pytest.fixture
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume, under a path short enough for a socket."""
    return tmp_path_factory.mktemp("data")


def test_the_package_of_the_image_is_whole(image: Path) -> None:
    """The files that are not Python, such as statements and the JavaScript client, go with the code; tests and bench do not."""
    sources = {
        path.relative_to(ROOT) for package in ("srv", "rpc", "store", "migrations") for path in _files(ROOT / package)
    }
    needed = {path for path in sources if path.suffix in {".py", ".sql", ".json", ".js", ".ts", ".typed"}}
    assert needed <= {path.relative_to(image) for path in _files(image)}
    assert not (image / "tests").exists()
    assert not (image / "bench").exists()


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def health_check() -> list[str]:
    """Return the command of the health check."""
    (check,) = values("HEALTHCHECK")
    program = json.loads(check[check.index("CMD ") + len("CMD ") :])
    assert program[0] == "python"
    return [sys.executable, *program[1:]]


def test_what_the_image_runs_comes_up_and_its_health_check_tells(image: Path, data: Path) -> None:
    """The command listens on the socket in the volume, where the check asks; it passes then, and fails else."""
    check = health_check()
    with container(image, data) as ready:
        assert ready["unix_socket"] == inside(image, data)["ZONEKEEPER_UNIX_SOCKET"]
        assert Path(ready["unix_socket"]).is_relative_to(data)
        assert subprocess.run(check, env=inside(image, data), check=False).returncode == 0
    stopped = subprocess.run(check, env=inside(image, data), check=False, capture_output=True)
    assert stopped.returncode == 1


def test_the_labels_are_what_the_package_says_of_itself() -> None:
    """Whoever finds the image finds out what it is."""
    (labels,) = values("LABEL")
    shown = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', labels))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert shown == {
        "title": project["name"],
        "description": project["description"],
        "licenses": project["license"],
    }


LOCKED_DOWN: Final = """
set -e
mount --bind "$0" "$0"
mount -o remount,bind,ro /
! touch "$1/x" 2>/dev/null
shift
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""
"""As `docker run --read-only --cap-drop ALL --security-opt no-new-privileges` does it: only the volume can be written."""


def test_it_runs_without_privileges_on_a_read_only_system_as_process_1(image: Path, data: Path) -> None:
    """As the README starts it. It stops at SIGTERM, which process 1 does not hear unless it has asked for it."""
    for start in (command for command in commands_of_the_readme() if command[:2] == ["docker", "run"]):
        assert {"--read-only", "ALL", "no-new-privileges"} <= set(start)
        assert start[start.index("--cap-drop") + 1] == "ALL"
        assert start[start.index("--security-opt") + 1] == "no-new-privileges"
    needs("unshare")
    needs("setpriv")
    apart = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*apart, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system lets us make no namespaces")
    with container(image, data, *apart, "bash", "-c", LOCKED_DOWN, str(data), str(image)) as ready:
        assert ready["pid"] == 1
        call = subprocess.run([sys.executable, "-m", "srv", "status"], env=inside(image, data), cwd=data, check=False)
        assert call.returncode == 0


def commands_of_the_readme() -> list[list[str]]:
    """Return the commands of the README's section on containers, each as the words that a shell makes of it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## In a container\n")[2].partition("\n## ")[0]
    block = "".join(re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
    lines = re.sub(r" \\\n *", " ", block).splitlines()
    words = [
        subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True).stdout
        for line in lines
    ]
    return [each.decode().rstrip("\0").split("\0") for each in words]


def test_the_readme_builds_the_image_from_here() -> None:
    """The first command takes the Dockerfile of the directory it is run in."""
    assert commands_of_the_readme()[0] == ["docker", "build", "--tag", "zonekeeper", "."]


def test_the_first_container_of_the_readme_is_reached_from_its_inside(image: Path, data: Path) -> None:
    """The volume is where the image keeps its data, and a command in the container finds the daemon by itself."""
    _, start, execute, *_ = commands_of_the_readme()
    assert start[:3] == ["docker", "run", "--detach"]
    assert start[start.index("--volume") + 1].partition(":")[2] == values("VOLUME")[0]
    name = start[start.index("--name") + 1]
    assert execute[:4] == ["docker", "exec", name, "zonekeeper"]
    with container(image, data):
        command = [sys.executable, "-m", "srv", *execute[4:]]
        done = subprocess.run(command, cwd=data, env=inside(image, data), check=True, capture_output=True, text=True)
    assert "version" in done.stdout


def test_the_second_container_of_the_readme_is_reached_by_its_socket(image: Path, data: Path) -> None:
    """A directory of the same user takes the place of the volume, and `curl` needs no token on the socket in it."""
    make, start, call = commands_of_the_readme()[3:]
    assert make == ["mkdir", "-p", "data"]
    assert start[start.index("--user") + 1] == str(os.getuid())
    assert start[start.index("--volume") + 1] == f"{Path.cwd()}/data:/data"
    with container(image, data):
        command = [each.replace("data/run/", f"{data}/run/") for each in call]
        answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert answer["id"] == 1
    assert "version" in answer["result"]
