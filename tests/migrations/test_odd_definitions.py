"""Promotion makes do with tables that are not what LEGACY.md section 1 describes."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from migrations.records import promoted_id
from tests.legacy_dirs import LegacyDir
from tests.migrations.conftest import Open
from tests.migrations.test_promotion import ask, definition


async def test_a_table_of_hardly_any_columns_is_enough(data_dir: Path, open_store: Open) -> None:
    """Id, name and `is_seeded` are what promotion cannot do without."""
    columns = {"ID": "TEXT PRIMARY KEY", "Name": "TEXT", "is_seeded": "INTEGER", "other": "TEXT DEFAULT 'default'"}
    with LegacyDir(data_dir, definition_columns=columns) as legacy:
        legacy.objects.execute("INSERT INTO db_agent_definitions VALUES ('t', 'T', 1, 'own')")
        legacy.session("agent:t:current", "t")
    migration = await open_store()
    assert (await migration.run()).templates.templates_promoted == 1
    found = ask(data_dir, "SELECT * FROM db_agent_definitions ORDER BY id")
    assert found == [("t", "T", 1, "own"), ("template-promote-v1-t", "T", 0, "default")]


async def test_skills_that_sqlite_numbers_get_their_numbers_from_it(data_dir: Path, open_store: Open) -> None:
    """An INTEGER PRIMARY KEY is not given a UUID."""
    with LegacyDir(data_dir, without_tables=("db_agent_skills", "db_agent_content")) as legacy:
        legacy.template("t")
        legacy.session("agent:t:current", "t")
        legacy.objects.execute("CREATE TABLE db_agent_skills (id INTEGER PRIMARY KEY, agent_id TEXT, name TEXT)")
        legacy.objects.execute("INSERT INTO db_agent_skills VALUES (41, 't', 'skill')")
    migration = await open_store()
    assert (await migration.run()).templates.templates_promoted == 1
    assert ask(data_dir, "SELECT id, name FROM db_agent_skills WHERE agent_id <> 't'") == [(42, "skill")]


async def test_an_instance_that_does_not_say_whether_it_is_hidden_is_visible(data_dir: Path, open_store: Open) -> None:
    """As the column's default is."""
    with LegacyDir(data_dir, without_tables=("db_agent_instances",)) as legacy:
        legacy.template("t", name="T")
        legacy.objects.execute(
            "CREATE TABLE db_agent_instances (id TEXT, definition_id TEXT, instance_name TEXT, display_hidden INTEGER)"
        )
        legacy.objects.execute("INSERT INTO db_agent_instances VALUES ('i', 't', 'Mine', NULL)")
        legacy.session("agent:t:current", "t")
    migration = await open_store()
    await migration.run()
    assert definition(data_dir, promoted_id("t"))["name"] == "Mine"


async def test_a_slug_is_taken_in_letters_of_either_case(data_dir: Path, open_store: Open) -> None:
    """The index that keeps slugs unique may not tell them apart."""
    with LegacyDir(data_dir) as legacy:
        legacy.objects.execute("DROP INDEX idx_slug")
        legacy.objects.execute("CREATE UNIQUE INDEX idx_slug ON db_agent_definitions (slug COLLATE NOCASE)")
        legacy.definition("user", slug="SAME")
        legacy.template("t", name="Same")
        legacy.session("agent:t:current", "t")
    migration = await open_store()
    assert (await migration.run()).templates.templates_promoted == 1
    assert definition(data_dir, promoted_id("t"))["slug"] == "same-2"


async def test_what_a_table_refuses_to_copy_is_told_of(data_dir: Path, open_store: Open) -> None:
    """A skill whose name must be unique stays the template's alone; the rest is copied, and the template promoted."""
    with LegacyDir(data_dir) as legacy:
        legacy.template("t")
        legacy.session("agent:t:current", "t")
        legacy.objects.execute("CREATE UNIQUE INDEX one_trigger ON db_agent_skills (trigger) WHERE trigger <> ''")
        legacy.objects.execute("INSERT INTO db_agent_content VALUES ('t', 'soul', 'x', 5)")
        for number, trigger in enumerate(("", "a", "b")):
            legacy.objects.execute(
                "INSERT INTO db_agent_skills (id, agent_id, name, trigger) VALUES (?, 't', 's', ?)", (number, trigger)
            )
    migration = await open_store()
    with capture_logs() as logs:
        run = await migration.run()
    assert run.templates.templates_promoted == 1
    warned = [(log["template"], log["kind"], log["left"]) for log in logs if log["log_level"] == "warning"]
    assert warned == [("t", "skills", 2)]
    assert ask(data_dir, "SELECT count(*) FROM db_agent_skills WHERE agent_id <> 't'") == [(1,)]
