"""Between two customers: a file of one in the place of the other's is refused, or shows and does nothing."""

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from personal import Personal
from storage.calls.call_row import CallRow, Query
from storage.customer.customers import Customers, CustomerSettings
from storage.database.database import Database, DatabaseDamaged
from storage.errors import StorageError
from tests.in_process.storage_node import NOON, ROOT, opens, permit, record

NAMES = ("acme", "beta")
FILES = (  # every file that a customer has, beside those of the vault
    "customers/{}/index.sqlite3",
    "customers/{}/audit.jsonl",
    "customers/{}/papers.journal",
    "customers/{}/tokens.json",
    "customers/{}/tree.state",
    "keys/{}.audit",
    "keys/{}.erasures",
    "keys/{}.forget",
    "keys/{}.forget.new",
    "keys/{}.leaves",
    "keys/{}.tree.0",
    "keys/{}.tree.1",
)


async def opened(data: Path, *names: str) -> Customers:
    settings = [CustomerSettings(name) for name in names]
    return await Customers.open(data, ROOT, settings, database="sqlite", now=lambda: NOON)


async def inhabited(data: Path) -> dict[str, tuple[CallRow, str]]:
    """Give both customers a call, a token and an erased call; their numbers are the same on both sides."""
    customers = await opened(data, *NAMES)
    made = {}
    for name, customer in customers.items():
        await permit(customer)
        if name == "beta":
            gone = await record(customer, name="Bodo Gone")
            filed = await customer.erasures.file(calls=[gone.id], reason="x", by="paula")
            await customer.erasures.work()
            assert (await customer.erasures.get(filed.id)) is not None
        row = await record(customer, name=f"Mira {name.title()}")
        made[name] = row, customer.credentials.create(name, ["admin"], NOON).token
    await customers.close()
    return made


async def seen(data: Path, made: dict[str, tuple[CallRow, str]]) -> None:
    """Look at acme with all that is known of beta: nothing of it is there, and nothing of acme's is lost."""
    (acme,) = (await opened(data, "acme")).values()
    try:
        own, foreign = made["acme"][0], made["beta"][0]
        assert await acme.calls.get(foreign.id) is None
        assert (await acme.calls.find(Query(party=Personal("Mira Beta")))).items == ()
        assert acme.credentials.check(made["beta"][1], NOON) is None
        assert not opens(acme, foreign)
        assert opens(acme, own)
        assert await acme.calls.get(own.id) is not None
        acme.audit.verify()
    finally:
        await acme.close()


@pytest.mark.parametrize("file", FILES)
async def test_another_customers_file_decrypts_and_destroys_nothing(tmp_path: Path, file: str) -> None:
    made = await inhabited(tmp_path)
    own, foreign = (tmp_path / file.format(name) for name in NAMES)
    kept = own.read_bytes() if own.exists() else b""
    shutil.copy(foreign, own)
    try:
        await seen(tmp_path, made)
    except StorageError:
        own.write_bytes(kept)  # refused: and with the right one back everything is as before
        await seen(tmp_path, made)


async def test_every_file_of_a_customer_is_in_the_list(tmp_path: Path) -> None:
    await inhabited(tmp_path)
    named = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    theirs = {name.replace("beta", "{}") for name in named if "beta" in name and "/vault/" not in name}
    assert {name for name in theirs if not name.endswith((".lock", "-wal", "-shm"))} == set(FILES)


async def test_one_database_never_serves_two_customers(url: str, tmp_path: Path) -> None:
    shared = url.replace("{customer}", "shared")
    await (await Database.open(shared, "acme", tmp_path, NOON)).close()
    with pytest.raises(DatabaseDamaged, match="another customer"):
        await Database.open(shared, "beta", tmp_path, NOON)


async def test_every_customer_has_a_database_of_its_own(postgresql: str, tmp_path: Path) -> None:
    settings = [CustomerSettings(name) for name in ("one", "other")]
    customers = await Customers.open(tmp_path, ROOT, settings, database=postgresql, now=lambda: NOON)
    try:
        row = await record(customers["one"])
        assert await customers["other"].calls.get(row.id) is None
        assert (await customers["other"].calls.count(), await customers["one"].calls.count()) == (0, 1)
        names = set()
        for customer in customers.values():
            async with customer.database.reading() as connection:
                names.add(await connection.scalar(sa.text("select current_database()")))
        assert names == {"recorder_one", "recorder_other"}
    finally:
        await customers.close()
