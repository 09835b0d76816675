"""`migrate_promote_template_sessions_v1`: what is made in `objects.db`, from what and when (LEGACY.md section 3)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from migrations import PROMOTE_TEMPLATE_SESSIONS_V1, Progress, run_migrations
from migrations.legacy_definitions import COPIED_COLUMNS, is_blank_name, slug_of
from migrations.records import promoted_id
from store.engine import AppendOutput, WriteState
from store.limits import DEFINITION_ID_CHARACTERS_MAX
from store.zones import agent_current_zone
from tests.legacy_dirs import LATER_DEFINITION_COLUMNS, MAY_2026_DEFINITION_COLUMNS, LegacyDir
from tests.migrations.conftest import BUSY_MS, NOW_MS, Open, rows

DEFAULTS = {
    "working_directory": "",
    "auto_start": 0,
    "agent_bus_id": "",
    "accounts": "",
    "branch_label": "",
    "user_hidden": 0,
    "container_name": "",
    "use_ambient_login": 0,
    "auto_continue_enabled": 0,
    "memory_id": "",
    "conversation_visibility": "",
}


def definition(data_dir: Path, definition_id: str) -> dict[str, object]:
    """Read a definition by column."""
    with closing(sqlite3.connect(data_dir / "db" / "objects.db")) as connection:
        connection.row_factory = sqlite3.Row
        statement = "SELECT * FROM db_agent_definitions WHERE id = ?"
        row = connection.execute(statement, (definition_id,)).fetchone()
        return {} if row is None else dict(row)


def ask(data_dir: Path, statement: str) -> list[tuple[object, ...]]:
    """Ask `objects.db`."""
    return rows(data_dir / "db" / "objects.db", statement)


async def test_what_is_copied_what_is_set_and_what_gets_its_default(data_dir: Path, open_store: Open) -> None:
    """All columns of the newest build, each with a value of its own in the template."""
    columns = {**MAY_2026_DEFINITION_COLUMNS, **LATER_DEFINITION_COLUMNS}
    own: dict[str, object] = {
        name: 7 if kind.startswith("INTEGER") else f"own {name}" for name, kind in columns.items()
    }
    own |= {"id": "t", "slug": "t", "is_seeded": 1}
    with LegacyDir(data_dir) as legacy:
        legacy.template("t", **{name: value for name, value in own.items() if name != "id"})
        legacy.instance("i", "t", "Mäks' Agent", started=1)
        legacy.session("agent:t:current", "t")
    migration = await open_store()
    await migration.run()
    assert definition(data_dir, promoted_id("t")) == {
        **{name: own[name] for name in COPIED_COLUMNS},
        **DEFAULTS,
        "id": "template-promote-v1-t",
        "name": "Mäks' Agent",
        "slug": "m-ks-agent",
        "is_seeded": 0,
        "parent_id": "t",
        "created_at": NOW_MS,
        "updated_at": NOW_MS,
    }
    assert definition(data_dir, "t") == own


@pytest.mark.parametrize(
    "later", [(), ("updated_at",), ("container_volumes", "user_hidden"), ("model_vendor_base_url", "container_name")]
)
async def test_only_columns_that_the_table_has_are_named(
    data_dir: Path, open_store: Open, later: tuple[str, ...]
) -> None:
    """Any subset of the later columns may be there."""
    columns = {**MAY_2026_DEFINITION_COLUMNS, **{name: LATER_DEFINITION_COLUMNS[name] for name in later}}
    with LegacyDir(data_dir, definition_columns=columns) as legacy:
        legacy.template("t", **dict.fromkeys(later, "1"))
        legacy.session("agent:t:current", "t")
    migration = await open_store()
    assert (await migration.run()).templates.templates_promoted == 1
    made = definition(data_dir, promoted_id("t"))
    assert set(made) == set(columns)
    assert made["created_at"] == NOW_MS
    if "container_volumes" in later:
        assert (made["container_volumes"], made["user_hidden"]) == ("1", 0)


@pytest.mark.parametrize(
    ("instances", "name"),
    [
        ([], "T"),
        ([("a", "First", 1, 0), ("b", "Second", 2, 0)], "Second"),
        ([("a", "Shown", 1, 0), ("b", "Hidden", 2, 1)], "Shown"),
        ([("a", "Named", 1, 0), ("b", "", 2, 0)], "Named"),
        ([("a", "Named", 1, 0), ("b", " \t\u00a0\u3000\u2029\n", 2, 0)], "Named"),
        ([("a", "Named", 1, 0), ("b", "\x1c", 2, 0)], "\x1c"),
        ([("a", "Lesser", 5, 0), ("b", "Greater", 5, 0)], "Greater"),
        ([("B", "Lesser", 5, 0), ("a", "Greater", 5, 0)], "Greater"),
        ([("a", " padded ", 5, 0)], " padded "),
        ([("b", "Hidden", 2, 1)], "T"),
    ],
)
async def test_the_name_is_that_of_the_instance_started_last(
    data_dir: Path, open_store: Open, instances: list[tuple[str, str, int, int]], name: str
) -> None:
    """Visible and not blank; of equal times the greatest id; else the template's own."""
    with LegacyDir(data_dir) as legacy:
        legacy.template("t", name="T")
        for instance_id, instance_name, started, hidden in instances:
            legacy.instance(instance_id, "t", instance_name, started, hidden)
        legacy.instance("zzz", "another", "Another's", 99)
        legacy.session("agent:t:current", "t")
    migration = await open_store()
    await migration.run()
    assert definition(data_dir, promoted_id("t"))["name"] == name


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Maks", "maks"),
        ("  Maks -- the 2nd! ", "maks-the-2nd"),
        ("---", "agent"),
        ("日本", "agent"),
        ("", "agent"),
        ("Éa٣b", "a-b"),
        ("a\n", "a"),
    ],
)
def test_a_slug_keeps_ascii_letters_and_digits(name: str, slug: str) -> None:
    """Each run of anything else is one hyphen, none at the ends."""
    assert slug_of(name) == slug


def test_blank_means_unicode_white_space() -> None:
    """U+001C to U+001F are none, whatever `str.isspace` says."""
    assert all(is_blank_name(text) for text in ("", " ", "\n \r\n", "\u2028", "\u0085"))
    assert not any(is_blank_name(text) for text in ("\x1c", "\x1f", "\u200b", " a "))


async def test_templates_that_want_one_slug_get_it_in_order_of_id(data_dir: Path, open_store: Open) -> None:
    """The first free number, whoever has the others."""
    with LegacyDir(data_dir) as legacy:
        for template in ("c", "a", "b", "B"):
            legacy.template(template, name="Same", slug=f"template-{template}")
            legacy.session(f"agent:{template}:current", template)
        legacy.definition("user", slug="same")
        legacy.definition("other", slug="same-3")
    migration = await open_store()
    assert (await migration.run()).templates.templates_promoted == 4
    found = [definition(data_dir, promoted_id(template))["slug"] for template in ("B", "a", "b", "c")]
    assert found == ["same-2", "same-4", "same-5", "same-6"]


async def test_content_and_skills_are_copied_with_ids_of_their_own(data_dir: Path, open_store: Open) -> None:
    """The template keeps its rows; history and identity links are not copied."""
    with LegacyDir(data_dir) as legacy:
        legacy.template("t")
        legacy.session("agent:t:current", "t")
        legacy.objects.execute("CREATE TABLE db_agent_history (id INTEGER PRIMARY KEY, agent_id TEXT, entry TEXT)")
        legacy.objects.execute("INSERT INTO db_agent_history VALUES (1, 't', 'entry')")
        legacy.objects.execute('ALTER TABLE db_agent_skills ADD COLUMN "odd ""name" TEXT DEFAULT \'odd\'')
        for kind in ("soul", "env"):
            legacy.objects.execute("INSERT INTO db_agent_content VALUES ('t', ?, x'00ff', 5)", (kind,))
        for number in ("1", "2"):
            legacy.objects.execute(
                "INSERT INTO db_agent_skills (id, agent_id, name) VALUES (?, 't', ?)", (number, number)
            )
    migration = await open_store()
    await migration.run()
    new = promoted_id("t")
    content = ask(data_dir, f"SELECT content_type, content, updated_at FROM db_agent_content WHERE agent_id = '{new}'")
    assert content == [("env", b"\x00\xff", 5), ("soul", b"\x00\xff", 5)]
    skills = ask(data_dir, f'SELECT name, "odd ""name" FROM db_agent_skills WHERE agent_id = \'{new}\' ORDER BY name')
    assert skills == [("1", "odd"), ("2", "odd")]
    assert ask(data_dir, "SELECT count(*), count(DISTINCT id) FROM db_agent_skills") == [(4, 4)]
    assert ask(data_dir, "SELECT count(*) FROM db_agent_content WHERE agent_id = 't'") == [(2,)]
    assert ask(data_dir, "SELECT count(*) FROM db_agent_history") == [(1,)]


async def test_an_existing_definition_is_used_as_it_is(data_dir: Path, open_store: Open) -> None:
    """Neither its columns nor its texts are touched, whatever the user made of them."""
    new = promoted_id("t")
    with LegacyDir(data_dir) as legacy:
        legacy.template("t", shell="zsh")
        legacy.definition(new, name="Mine", slug="mine", shell="fish", parent_id="x")
        legacy.objects.execute("INSERT INTO db_agent_content VALUES ('t', 'soul', 'template', 5)")
        legacy.instance("i", "t", "Other name")
        legacy.session("agent:t:current", "t")
    before = definition(data_dir, new)
    migration = await open_store()
    run = await migration.run()
    assert definition(data_dir, new) == before
    assert ask(data_dir, "SELECT count(*) FROM db_agent_content") == [(1,)]
    assert ask(data_dir, "SELECT definition_id FROM db_agent_instances") == [(new,)]
    assert (run.templates.templates_promoted, run.templates.instances_repointed) == (1, 1)


async def test_nothing_is_done_where_no_template_owns_a_session_with_content(data_dir: Path, open_store: Open) -> None:
    """Not for an empty session, a user's definition made from the template, or a definition that does not exist."""
    with LegacyDir(data_dir) as legacy:
        legacy.template("t")
        legacy.definition("user", parent_id="t")
        legacy.definition("odd", is_seeded=2)
        legacy.instance("i", "t", "Name", 1)
        legacy.session("agent:user:current", "user")
        legacy.session("agent:gone:archive:5", "gone")
        legacy.session("agent:odd:current", "odd")
        legacy.session("agent:T:current", "case matters")
    migration = await open_store()
    await migration.engine.apply([WriteState(agent_current_zone("t"), b"", NOW_MS)])
    before = ask(data_dir, "SELECT * FROM db_agent_definitions")
    run = await migration.run()
    assert run.outcomes[1] == "nothing to migrate"
    assert run.templates.templates_scanned == 0
    assert ask(data_dir, "SELECT * FROM db_agent_definitions") == before
    assert ask(data_dir, "SELECT definition_id FROM db_agent_instances") == [("t",)]
    assert {name for name in await migration.zones() if name.startswith("agent:t")} == {"agent:t:current"}


async def test_every_zone_of_a_template_moves(data_dir: Path, open_store: Open) -> None:
    """Current and archives keep their session ids; blocks of a template are promoted in the same start."""
    with LegacyDir(data_dir) as legacy:
        legacy.template("t")
        legacy.instance("i1", "t", "Name", 1)
        legacy.instance("i2", "t", "", 2)
        legacy.instance("i3", "user", "Other", 3)
        legacy.session("agent:t:archive:5", "five")
        legacy.session("agent:t:archive:6", "six")
        legacy.block("b", "t")
        legacy.session("b", "block")
        legacy.definition("user", parent_id="t")
    migration = await open_store()
    run = await migration.run()
    assert {name.split(":")[1] for name in await migration.zones()} == {promoted_id("t")}
    stats = run.templates
    assert (stats.templates_scanned, stats.templates_promoted, stats.archives_moved) == (1, 1, 3)
    assert stats.instances_repointed == 2
    assert ask(data_dir, "SELECT definition_id FROM db_agent_instances WHERE id = 'i3'") == [("user",)]


async def test_it_runs_at_every_start_and_whatever_the_marker_says(data_dir: Path, open_store: Open) -> None:
    """A session that a template got since is promoted to the same definition."""
    with LegacyDir(data_dir) as legacy:
        legacy.template("t")
        legacy.session("agent:t:archive:5", "five")
    migration = await open_store()
    await migration.run()
    await migration.engine.apply([AppendOutput(agent_current_zone("t"), b"late\n", NOW_MS)])
    run = await migration.run()
    assert run.outcomes == ("gated by marker", "done")
    assert set(await migration.zones()) == {f"agent:{promoted_id('t')}:{rest}" for rest in ("current", "archive:5")}
    assert ask(data_dir, "SELECT count(*) FROM db_agent_definitions") == [(2,)]


async def test_a_locked_objects_db_leaves_the_template_for_the_next_start(data_dir: Path, open_store: Open) -> None:
    """Neither half is done: the sessions stay, and no definition appears."""
    with LegacyDir(data_dir) as legacy:
        legacy.template("t")
        legacy.session("agent:t:current", "t")
    migration = await open_store()
    with closing(sqlite3.connect(data_dir / "db" / "objects.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        run = await migration.run()
    assert run.outcomes == ("done", "done with failures")
    assert "locked" in run.failures["t"]
    assert (run.templates.templates_scanned, run.templates.failures) == (1, 1)
    assert set(await migration.zones()) == {"agent:t:current"}
    assert (await migration.run()).templates.templates_promoted == 1


async def test_a_lock_is_waited_for_once(data_dir: Path, open_store: Open) -> None:
    """What is locked for one template is locked for the others: they fail at once, even where the lock has just gone."""
    with LegacyDir(data_dir) as legacy:
        for template in ("a", "b", "c"):
            legacy.template(template)
            legacy.session(f"agent:{template}:current", template)
    migration = await open_store()
    with closing(sqlite3.connect(data_dir / "db" / "objects.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        def release(progress: Progress) -> None:
            if progress == Progress(PROMOTE_TEMPLATE_SESSIONS_V1, 1, 3):
                other.execute("ROLLBACK")

        reports = await run_migrations(
            data_dir, migration.engine, now_ms=lambda: NOW_MS, progress=release, stop=lambda: False, busy_ms=BUSY_MS
        )
        assert not other.in_transaction
    assert [what for what, why in reports[1].failures if "locked" in why] == ["a", "b", "c"]
    assert (await migration.run()).templates.templates_promoted == 3


async def test_a_lock_that_keeps_us_from_reading_is_a_failure_too(data_dir: Path, open_store: Open) -> None:
    """Once the blocks are migrated, a database that another program holds for itself does not stop the start-up."""
    with LegacyDir(data_dir, wal=False) as legacy:
        legacy.template("t")
    migration = await open_store()
    await migration.run()
    await migration.engine.apply([AppendOutput(agent_current_zone("t"), b"late\n", NOW_MS)])
    with closing(sqlite3.connect(data_dir / "db" / "objects.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        run = await migration.run()
    assert run.outcomes == ("gated by marker", "done with failures")
    assert (await migration.run()).templates.templates_promoted == 1


async def test_one_template_that_fails_does_not_stop_the_others(data_dir: Path, open_store: Open) -> None:
    """A row that the table refuses; an id that would be too long."""
    long = "x" * (DEFINITION_ID_CHARACTERS_MAX - 5)
    with LegacyDir(data_dir) as legacy:
        for template in ("a", "b", "c", long):
            legacy.template(template)
            legacy.session(f"agent:{template}:current", template)
        legacy.objects.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON db_agent_definitions WHEN new.parent_id = 'b' "
            "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )
    migration = await open_store()
    run = await migration.run()
    assert set(run.failures) == {"b", long}
    assert (run.templates.templates_scanned, run.templates.templates_promoted, run.templates.failures) == (4, 2, 2)
    assert {name.split(":")[1] for name in await migration.zones()} == {promoted_id("a"), "b", promoted_id("c"), long}
    with closing(sqlite3.connect(data_dir / "db" / "objects.db")) as connection:
        connection.execute("DROP TRIGGER refuse")
    assert (await migration.run()).templates.templates_promoted == 1


async def test_a_promoted_session_is_known_by_its_origin(data_dir: Path, open_store: Open) -> None:
    """Looking again takes neither the block nor the zone over a second time."""
    with LegacyDir(data_dir) as legacy:
        legacy.template("t")
        legacy.block("b", "t")
        legacy.session("b", "block")
        legacy.session("agent:t:archive:5", "five")
    migration = await open_store()
    await migration.run()
    before = await migration.zones()
    run = await migration.run(force=True)
    assert (run.blocks.archives_already_present, run.blocks.zones_adopted) == (1, 0)
    assert await migration.zones() == before
