"""Walking through the migrations gives the same schema as making it at once."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from storage.database import HEAD, Database
from storage.migrate import known, upgrade
from storage.tables import metadata

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_the_head_in_the_program_is_the_newest_migration() -> None:
    assert HEAD in known()
    from alembic.script import ScriptDirectory

    from storage.migrate import config

    assert ScriptDirectory.from_config(config()).get_current_head() == HEAD


def shape(connection: sa.Connection) -> dict[str, object]:
    seen = sa.inspect(connection)
    return {
        name: (
            [(c["name"], str(c["type"]), c["nullable"]) for c in seen.get_columns(name)],
            seen.get_pk_constraint(name)["constrained_columns"],
            sorted((tuple(i["column_names"]), bool(i["unique"])) for i in seen.get_indexes(name)),
        )
        for name in seen.get_table_names()
    }


def test_the_migrations_give_the_schema_of_the_tables(url: str, tmp_path: Path) -> None:
    async def story() -> None:
        database = await Database.open(url, "migrated", tmp_path, NOW)
        async with database.writing() as connection:
            at_once = await connection.run_sync(shape)
            await connection.run_sync(_start_over)
            await connection.run_sync(upgrade)
            assert await connection.run_sync(shape) == at_once
            assert await connection.run_sync(_differences) == []
            assert await connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == HEAD
        await database.close()

    asyncio.run(story())


def _start_over(connection: sa.Connection) -> None:
    metadata.drop_all(connection)
    connection.execute(sa.text("DROP TABLE alembic_version"))


def _differences(connection: sa.Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))
