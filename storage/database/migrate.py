"""The migrations of the schema; a module of its own because alembic is slow to import and needed once a release."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory


def config(connection: sa.Connection | None = None) -> Config:
    """Return alembic's configuration; the migrations run on the given connection, inside its transaction."""
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    settings.attributes["connection"] = connection
    return settings


def known() -> frozenset[str]:
    """Return the versions that lead to the newest one."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(config()).walk_revisions())


def upgrade(connection: sa.Connection, version: str = "head") -> None:
    """Migrate the schema to a version, the newest by default."""
    command.upgrade(config(connection), version)
