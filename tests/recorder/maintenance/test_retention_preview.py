"""A dry run names the ids, the rule and the days; behind the brake they are what would be asked for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from recorder.maintenance.retention_preview import preview_retention
from storage.customer.customers import Customer
from storage.retention.rules import RuleSpec
from tests.in_process.storage_node import NOON, StorageNode, record, story


def test_each_call_is_named_with_why(tmp_path: Path) -> None:
    async def tell(storage_node: StorageNode, acme: Customer) -> None:
        old = await record(acme, ended=NOON - timedelta(days=200))
        ruled = await record(acme, name="T", number="+4940777888", ended=NOON - timedelta(days=9))
        rule = (await acme.rules.put([RuleSpec(7, party="040 777888")], by="ada")).rules[0].id
        found = await preview_retention(acme, NOON, 100)
        assert [(i["id"], i["why"]) for i in found["items"]] == [
            (old.id, "default: kept 180 days from its end"),
            (ruled.id, f"rule {rule}: kept 7 days from its end"),
        ]
        assert (found["calls"], found["brake"], found["asks"]) == (2, False, [])
        braked = await preview_retention(acme, NOON, 5)
        assert (braked["items"], braked["brake"], braked["asks"]) == ([], True, found["items"])

    story(tmp_path, tell)
