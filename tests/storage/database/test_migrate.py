"""Walking through the migrations gives the same schema as making it at once."""

from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from storage.database.database import HEAD, Database
from storage.database.migrate import config, known, upgrade
from storage.database.schema import metadata

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_the_head_in_the_program_is_the_newest_migration() -> None:
    assert HEAD in known()
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


async def test_the_migrations_give_the_schema_of_the_tables(url: str, tmp_path: Path) -> None:
    database = await Database.open(url, "migrated", tmp_path, NOW)
    async with database.writing() as connection:
        at_once = await connection.run_sync(shape)
        await connection.run_sync(_start_over)
        await connection.run_sync(upgrade)
        assert await connection.run_sync(shape) == at_once
        assert await connection.run_sync(_differences) == []
        assert await connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == HEAD
    await database.close()


def _start_over(connection: sa.Connection) -> None:
    metadata.drop_all(connection)
    connection.execute(sa.text("DROP TABLE alembic_version"))


def _differences(connection: sa.Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


async def test_calls_of_before_users_were_looked_for_are_looked_at(url: str, tmp_path: Path) -> None:
    database = await Database.open(url, "older", tmp_path, NOW)
    for users, walk in ((0, None), (1, 1 << 62)):
        async with database.writing() as connection:
            await connection.run_sync(_start_over)
            await connection.run_sync(upgrade, "0001")
            await connection.execute(_OLD_CALL, {"x": b"x", "no": False})
            if users:
                await connection.execute(_OLD_USER, {"x": b"x"})
            await connection.run_sync(upgrade)
            assert await connection.scalar(sa.select(metadata.tables["calls"].c.matched)) is True
            assert await connection.scalar(sa.select(metadata.tables["matching"].c.walk)) == walk
    await database.close()


_OLD_CALL = sa.text(
    "INSERT INTO calls (id, leaf, day, state, started_at, duration_ms, size_bytes, hold, version, sealed) "
    "VALUES ('c', 7, 1, 1, 0, 1, 1, :no, 1, :x)"
)
_OLD_USER = sa.text(
    "INSERT INTO users (id, state, source, updated_at, leaf, sealed) VALUES ('u', 'active', 'csv', 1, 8, :x)"
)
