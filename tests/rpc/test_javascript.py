"""The JavaScript client is the table's: its files are current, and its types let through what the daemon takes and no more."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from rpc import javascript, proof
from rpc.contract import METHODS
from rpc.errors import INTERNAL, NUMBERS
from tests.node import programs

COMPILE: Final = ("node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--target", "es2022")
"""The command that checks types; es2022 brings `cause`, which errors of the client have."""


@pytest.mark.parametrize("name", javascript.MADE)
def test_a_file_is_what_the_table_says(name: str) -> None:
    """`make types` brings it up to date."""
    assert (javascript.DIRECTORY / name).read_text(encoding="utf-8") == javascript.renewed(name)


def test_what_is_between_the_marks_is_made_anew_and_the_rest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stood there; and a file that has lost its marks is not written over."""
    files = Path(shutil.copytree(javascript.DIRECTORY, tmp_path / "js"))
    monkeypatch.setattr(javascript, "DIRECTORY", files)
    whole = (files / "zonekeeper.js").read_text(encoding="utf-8")
    start, rest = whole.split("  // <methods>\n")
    end = rest.split("  // </methods>\n")[1]
    (files / "zonekeeper.js").write_text(
        f"{start}  // <methods>\n  old() {{}}\n  // </methods>\n{end}", encoding="utf-8"
    )
    assert javascript.renewed("zonekeeper.js") == whole
    (files / "zonekeeper.js").write_text(start + end, encoding="utf-8")
    with pytest.raises(ValueError, match=r"zonekeeper\.js has no marks for methods"):
        javascript.renewed("zonekeeper.js")


def test_the_proof_is_the_same_rule_in_both_languages() -> None:
    """What it is for, and from which token on there is one, stands in the module as `rpc/proof.py` has it."""
    module = (javascript.DIRECTORY / "zonekeeper.js").read_text(encoding="utf-8")
    assert f"PROVEN_TOKEN_CHARACTERS_MIN = {proof.TOKEN_CHARACTERS_MIN};" in module
    assert f"`{proof.PURPOSE}\\n$" in module


@pytest.mark.parametrize(
    ("schema", "type_"),
    [
        ({"type": ["integer", "null"]}, "number | null"),
        ({"type": "array", "items": {"type": "string"}}, "string[]"),
        ({"type": "array", "items": {"enum": ["a", 1]}}, 'Array<"a" | 1>'),
        ({"oneOf": [{"$ref": "#/components/schemas/Page"}, {"const": True}]}, "Page | true"),
        (
            {"type": "object", "properties": {"b": {"type": "boolean"}}, "required": []},
            "{\n  b?: boolean;\n  [member: string]: unknown;\n}",
        ),
        ({"type": "object", "additionalProperties": {"type": "null"}}, "{\n  [member: string]: null;\n}"),
    ],
)
def test_a_type_is_that_of_what_fits_the_schema(schema: dict[str, Any], type_: str) -> None:
    """Each rule by itself; what an object may have besides is unknown unless the schema tells."""
    assert javascript._type(schema) == type_


@pytest.mark.parametrize("schema", [{}, {"type": "number"}, {"anyOf": [{"type": "null"}]}, {"type": "array"}])
def test_a_schema_without_a_rule_is_not_guessed_at(schema: dict[str, Any]) -> None:
    """Whoever writes one adds the rule."""
    with pytest.raises(ValueError, match="there is no rule for"):
        javascript._type(schema)


def test_every_method_has_a_verb_of_its_own() -> None:
    """The last word of a method's name is enough to tell it from the others, and none is taken by the client itself."""
    verbs = [javascript.verb(row.name) for row in METHODS]
    assert verbs[:3] == ["read", "writeState", "appendOutput"]
    assert len({*verbs, "call", "batch", "constructor"}) == len(verbs) + 3


def test_every_word_of_an_error_is_in_the_types() -> None:
    """A front end that has a case for each has them all."""
    types = (javascript.DIRECTORY / "zonekeeper.d.ts").read_text(encoding="utf-8")
    words = types.partition("export type ErrorWord =\n")[2].partition(";")[0]
    assert words.replace("  | ", "").split() == [f'"{word}"' for word in (*NUMBERS, INTERNAL)]


def test_the_declaration_needs_nothing_but_a_browser(tmp_path: Path) -> None:
    """It type-checks where there are the types of a page only."""
    programs.run(*COMPILE, "--lib", "es2022,dom", "--typeRoots", tmp_path, javascript.DIRECTORY / "zonekeeper.d.ts")


def test_a_program_type_checks_and_one_that_the_daemon_would_refuse_does_not() -> None:
    """In `life.ts` everything is in order; in `refused.ts` each line that is marked so has an error, and no other line."""
    options = ("--module", "nodenext", "--types", "node", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes")
    programs.run(*COMPILE, *options, "life.ts", "refused.ts")
