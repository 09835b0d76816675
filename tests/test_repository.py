"""What lies at the top of the repository, what the lock pins, what make offers, and what no file may name."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_layering import imported_modules, modules, parsed

ROOT: Final = Path(__file__).resolve().parent.parent

REQUIRED: Final = {
    *("pyproject.toml", "requirements.lock", "Makefile", "Dockerfile", ".dockerignore", ".gitignore", ".ci"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"),
    *("srv", "rpc", "store", "migrations", "tests", "bench", "docs"),
}
ALLOWED: Final = REQUIRED | {".git", ".gitattributes", ".github", ".editorconfig"}

_REGISTRIES: Final = (
    "py" + "pi.",
    "python" + "hosted",
    "pi" + "wheels",
    "ana" + "conda.",
    "dev" + "pi.",
    "npm" + "js.",
)
_MACHINE_PATH: Final = re.compile(r"(?<![\w.}/:-])/(work|root|Users|home|mnt|private)/[\w.-]+")
_SAMPLE_PATHS: Final = {"/home/you", "/home/maks", "/home/u", "/Users/maks"}
"""Homes of the people in examples and in test data."""


def ignored() -> list[str]:
    """Return the patterns of .gitignore."""
    return [line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines() if line]


def files() -> Iterator[Path]:
    """Yield the files of the repository: those that git keeps, or, where this is no checkout, those that it would."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=False, capture_output=True, text=True)
    if (ROOT / ".git").exists() and listed.returncode == 0:
        kept = (ROOT / name for name in listed.stdout.split("\0") if name)
        yield from (path for path in kept if path.is_file() and not path.is_symlink())
    else:
        yield from files_below(ROOT)


def files_below(directory: Path) -> Iterator[Path]:
    """Yield the files in a directory and below it that git does not ignore."""
    for path in sorted(directory.iterdir()):
        if path.name == ".git" or path.is_symlink() or any(fnmatch(path.name, pattern) for pattern in ignored()):
            continue
        if path.is_dir():
            yield from files_below(path)
        else:
            yield path


def texts() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each file that is text."""
    for path in files():
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def project() -> dict[str, Any]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def lock() -> dict[str, dict[str, list[str]]]:
    """Return the parts of the lock: of each, the requirements with their hashes."""
    parts: dict[str, dict[str, list[str]]] = {}
    requirement = ""
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if line in {"# runtime", "# development"}:
            part = parts.setdefault(line.removeprefix("# "), {})
        elif match := re.fullmatch(r"    --hash=sha256:([0-9a-f]{64})(?: \\)?", line):
            part[requirement].append(match[1])
        elif line and not line.startswith("#"):
            requirement = line.removesuffix(" \\")
            part[requirement] = []
    return parts


def names(part: str) -> set[str]:
    """Return the names of what a part of the lock pins."""
    return {canonicalize_name(Requirement(each).name) for each in lock()[part]}


def needed_by(requirements: list[str]) -> set[str]:
    """Return the names of what these requirements need on this machine, and what that needs in turn."""
    found: set[str] = set()
    waiting = [Requirement(each) for each in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        extras = {"extra": next(iter(requirement.extras), "")}
        if name in found or (requirement.marker and not requirement.marker.evaluate(extras)):
            continue
        found.add(name)
        waiting += [
            each
            for each in map(Requirement, metadata.requires(name) or [])
            if not each.marker or each.marker.evaluate(extras)
        ]
    return found


def test_the_top_level_is_the_list_of_the_house() -> None:
    """What must be there is there, and nothing has settled beside it."""
    present = {path.relative_to(ROOT).parts[0] for path in files()}
    assert present - ALLOWED == set()
    assert present >= REQUIRED


def test_every_folder_of_modules_is_a_package() -> None:
    """A folder without `__init__.py` would be left out of the wheel and of the type check."""
    folders = {path.parent for path in files() if path.suffix == ".py"}
    assert [
        folder.relative_to(ROOT).as_posix() for folder in sorted(folders) if not (folder / "__init__.py").exists()
    ] == []


@pytest.mark.parametrize("package", ["srv", "rpc"])
def test_a_stranger_finds_every_module_in_the_picture_of_the_house(package: str) -> None:
    """CONTRIBUTING.md has each in one row of its package's table, and none that has gone."""
    house = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = house.partition(f"| in `{package}/` |")[2].partition("\n\n")[0]
    listed = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == sorted(path.stem for path in (ROOT / package).glob("*.py") if path.name != "__init__.py")


def test_no_module_has_400_lines() -> None:
    """A module that wants more is usually two ideas. A file of tests may be as long as its subject."""
    modules = {
        name: text.count("\n") for name, text in texts() if name.endswith(".py") and not name.startswith("tests/")
    }
    assert {name: lines for name, lines in modules.items() if lines >= 400} == {}


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is a matter of the machine."""
    assert [name for name, text in texts() if any(registry in text.lower() for registry in _REGISTRIES)] == []


def test_no_file_names_a_path_of_a_machine() -> None:
    """Neither the paths of this machine, nor any that looks like a checkout or a home."""
    here = [str(path) for path in (ROOT, Path.home(), Path(sys.base_prefix)) if len(path.parts) > 2]
    found = [
        (name, match)
        for name, text in texts()
        for match in [*(path for path in here if path in text), *(each[0] for each in _MACHINE_PATH.finditer(text))]
        if match not in _SAMPLE_PATHS
    ]
    assert found == []


def test_the_lock_pins_one_version_with_hashes_and_names_no_address() -> None:
    """Each line is one version and one or more hashes; options and addresses would tie it to a machine."""
    parts = lock()
    assert list(parts) == ["runtime", "development"]
    for requirement, hashes in (parts["runtime"] | parts["development"]).items():
        assert re.fullmatch(r"==[\w.]+", str(Requirement(requirement).specifier)), requirement
        assert hashes, requirement
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash=)", text, re.MULTILINE)


def test_the_lock_holds_what_the_project_asks_for() -> None:
    """Each pinned version is one that pyproject.toml allows, and none that it asks for is missing."""
    asked = project()["project"]
    wanted = [*asked["dependencies"], *asked["optional-dependencies"]["build"], *asked["optional-dependencies"]["dev"]]
    pinned = {Requirement(each).name.lower(): Requirement(each).specifier for part in lock().values() for each in part}
    for requirement in map(Requirement, wanted):
        version = str(pinned[requirement.name.lower()]).removeprefix("==")
        assert requirement.specifier.contains(version), f"{requirement} is locked to {version}; run make lock"


def test_the_lock_of_the_node_packages_pins_versions_with_hashes_and_names_no_address() -> None:
    """As that of the Python packages; what it links to is our own client."""
    packages = json.loads((ROOT / "tests" / "node" / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    asked = json.loads((ROOT / "tests" / "node" / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    assert packages.pop("")["devDependencies"] == asked
    pinned = {name: package for name, package in packages.items() if name.startswith("node_modules/")}
    assert {name.removeprefix("node_modules/") for name in pinned} >= asked.keys()
    assert pinned.pop("node_modules/zonekeeper") == {"resolved": "../../rpc/js", "link": True}
    for name, package in pinned.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"]), name
        assert re.fullmatch(r"sha512-[\w+/]{86}==", package["integrity"]), name
        assert "resolved" not in package, name


def test_the_runtime_part_is_enough_to_run_and_no_more() -> None:
    """What the image installs is all that the daemon needs over either engine, and the build tools that install it."""
    asked = project()["project"]
    needed = needed_by([*asked["dependencies"], *asked["optional-dependencies"]["postgres"]])
    build = needed_by(asked["optional-dependencies"]["build"])
    assert needed <= names("runtime")
    unneeded = {each for each in names("runtime") - needed - build if _is_for_this_machine(each)}
    assert unneeded == set()


def _is_for_this_machine(name: str) -> bool:
    requirement = next(each for each in map(Requirement, lock()["runtime"]) if canonicalize_name(each.name) == name)
    return requirement.marker is None or requirement.marker.evaluate()


def test_what_is_installed_is_what_is_locked() -> None:
    """The tests speak of the locked versions, so those must be the ones that run."""
    for requirement in (Requirement(each) for part in lock().values() for each in part):
        if requirement.marker is None or requirement.marker.evaluate():
            assert requirement.specifier.contains(metadata.version(requirement.name)), requirement


def test_every_package_that_the_product_imports_is_asked_for_and_has_its_reason() -> None:
    """Nothing is there by chance only, as what another package brings; and the table of reasons names each."""
    needed = [*project()["project"]["dependencies"], *project()["project"]["optional-dependencies"]["postgres"]]
    asked = {canonicalize_name(Requirement(each).name) for each in needed}
    packages = metadata.packages_distributions()
    imported = {
        canonicalize_name(packages[module][0])
        for path in modules()
        if path.startswith(("srv/", "rpc/", "store/", "migrations/"))
        for module in top_modules(path)
        if module in packages and module not in REQUIRED
    }
    assert imported == asked
    table = (ROOT / "store" / "DESIGN.md").read_text(encoding="utf-8").partition("\n## Packages\n")[2]
    assert {name for row in re.findall(r"^\| (.+?) \|", table, re.MULTILINE)[1:] for name in row.split(", ")} == asked


def top_modules(path: str) -> set[str]:
    """Return the names of what a module imports, without what follows the first dot."""
    tree = parsed((ROOT / path).read_text(encoding="utf-8"))
    module = path.removesuffix(".py").replace("/", ".")
    return {name.partition(".")[0] for name in imported_modules(tree, module, is_package=path.endswith("__init__.py"))}


def test_the_build_backend_is_in_the_lock() -> None:
    """The package is installed without build isolation, so what builds it must be pinned as well."""
    pinned = names("runtime")
    assert {canonicalize_name(Requirement(each).name) for each in project()["build-system"]["requires"]} <= pinned


def make(*arguments: str) -> str:
    """Run make as from a terminal, even where the tests were started by make, and return what it prints."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ARGS", "VENV"))
    }
    command = ["make", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def test_make_alone_lists_every_target() -> None:
    """Each target that can be asked for stands in the list, with a line about it."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = next(line for line in makefile.splitlines() if line.startswith(".PHONY:")).split()[1:]
    assert re.findall(r"^make (\w+) +\w", make(), re.MULTILINE) == [target for target in phony if target != "help"]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A virtual environment in which every step of the setup has left its stamp."""
    for stamp in (".locked", ".installed", ".node"):
        (tmp_path / stamp).touch()
    return tmp_path


@pytest.mark.parametrize("target", ["run", "setup", "test", "check", "bench", "fmt", "types"])
def test_a_target_begins_with_a_setup_that_does_nothing_when_it_is_up_to_date(target: str, made: Path) -> None:
    """In an empty clone, and after a change of the lock, everything is installed first; otherwise nothing is."""
    virtual = f"VENV={made}"
    assert not re.search("pip install|npm ci", make("--dry-run", virtual, target))
    os.utime(made / ".locked", (0, 0))
    assert make("--dry-run", virtual, target).count("pip install") == 2
    (made / ".locked").unlink()
    assert make("--dry-run", virtual, target).count("pip install") == 2


@pytest.mark.parametrize(("target", "times"), [("run", 0), ("setup", 1), ("test", 1)])
def test_what_the_tests_need_of_node_is_installed_for_them_only(target: str, times: int, made: Path) -> None:
    """The daemon starts without it."""
    (made / ".node").unlink()
    assert make("--dry-run", f"VENV={made}", target).count("npm ci") == times


def test_ci_runs_the_checks_and_then_the_test_command_of_the_readme() -> None:
    """What is measured is what people run, and the closing line of the runner is the last that is printed."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = [line for line in script.splitlines() if line.startswith("make ")]
    assert commands == ["make check", "make test"]
    assert "set -euo pipefail" in script
    assert re.search(r"^make test\b", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("root", ["0", "1000"])
def test_ci_installs_what_is_missing_if_it_can_and_goes_on_if_it_cannot(tmp_path: Path, root: str) -> None:
    """Quietly, before everything else, and as root only; that there is no network is no failure of its own."""
    programs = {
        "make": 'echo "make $*"',
        "apt-get": f'echo "$*" >> "{tmp_path}/asked"; echo "no network"; exit 100',
        "id": f"echo {root}",
    }
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    command = [str(tmp_path / "bash"), str(ROOT / ".ci" / "run")]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "make check\nmake test\n", "")
    asked = tmp_path / "asked"
    assert (asked.read_text().splitlines() if asked.exists() else []) == (["update"] if root == "0" else [])


def test_the_changelog_opens_with_the_version_of_the_package() -> None:
    """A release has its entry, in the form of Keep a Changelog."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[([^]]+)\]", changelog, re.MULTILINE)
    version = project()["project"]["version"]
    assert next(each for each in versions if each != "Unreleased") == version
    assert version == metadata.version("zonekeeper")
    headings = set(re.findall(r"^### (.+)$", changelog, re.MULTILINE))
    assert headings <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_licence_is_the_one_that_is_declared() -> None:
    """The text is that of the Apache License 2.0, and the package says so."""
    assert project()["project"]["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text(encoding="utf-8")
