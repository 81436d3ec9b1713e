"""Rules are stored sealed, keep their ids while they say the same, and become a policy."""

from datetime import timedelta
from pathlib import Path

import pytest

from storage.calls.call_row import Direction
from storage.customer.customers import Customer
from storage.database.schema import retention_rules
from storage.retention.policy import Wins
from storage.retention.rules import FORGOTTEN, MAX_RULES, BadRule, RuleSpec, check
from tests.in_process.storage_node import NOON, StorageNode, record

MIRA = RuleSpec(30, party="030 123456", name="Mira's calls")
SBC = RuleSpec(None, Direction.INBOUND, "192.0.2.0/24")


async def test_the_configured_retention_holds_until_rules_are_set(node: StorageNode, acme: Customer) -> None:
    assert (await acme.rules.get()).default_days == 180
    stored = await acme.rules.put([MIRA, SBC], by="ada", wins=Wins.SHORTEST)
    again = await acme.rules.get()
    assert again == stored and (again.default_days, again.wins) == (180, Wins.SHORTEST)
    assert [rule.spec for rule in again.rules] == [MIRA, SBC]
    assert b"Mira" not in node.raw() and b"123456" not in node.raw()
    await acme.rules.put([], by="ada", default_days=None)
    assert (await acme.rules.get()).default_days is None


async def test_an_unchanged_rule_keeps_its_id(acme: Customer) -> None:
    first = await acme.rules.put([MIRA, SBC], by="ada")
    async with acme.database.reading() as connection:
        leaves = list(await connection.scalars(retention_rules.select().with_only_columns(retention_rules.c.leaf)))
    second = await acme.rules.put([SBC], by="ada")
    assert second.rules[0].id == first.rules[1].id
    assert not any(acme.keys.keeps(leaf) for leaf in leaves)


async def test_replaced_rules_of_a_backup_still_keep_their_calls(
    node: StorageNode, acme: Customer, tmp_path: Path
) -> None:
    long, short = await record(acme), await record(acme, ended=NOON - timedelta(days=200), number="+4940777888")
    await acme.rules.put([RuleSpec(3650, party="030 123456"), RuleSpec(30, party="040 777888")], by="ada")
    await acme.close()
    node.backup(tmp_path / "backup")
    async with node.opened() as again:
        await again.rules.put([SBC], by="ada")
    node.restore(tmp_path / "backup")
    async with node.opened() as again:
        assert [rule.spec.name for rule in (await again.rules.get()).rules] == [FORGOTTEN, FORGOTTEN]
        node.watch.wait(days=300)
        assert (await again.retention.preview(node.watch(), 100)).due == (), "both may be the person of ten years"
        with pytest.raises(BadRule, match="rule 1"):
            check([rule.spec for rule in (await again.rules.get()).rules], None)  # 30 days would be everybody's
        after = await again.rules.put([MIRA, RuleSpec(3650, party="030 123456")], by="ada")
        assert len({rule.id for rule in after.rules}) == 2 and not any(rule.forgotten for rule in after.rules)
        assert {due.id for due in (await again.retention.preview(node.watch(), 100)).due} == {short.id}
        assert await again.calls.get(long.id)


async def test_a_policy_means_the_party_exactly(acme: Customer) -> None:
    await acme.rules.put([MIRA], by="ada")
    policy = await acme.rules.policy()
    assert policy.default_days == 180 and policy.rules[0].days == 30
    needles = policy.rules[0].needles
    assert needles and all(n.probe == "e:+4930123456" and not n.tail for n in needles)
    wished = acme.rules.policy_of([MIRA, SBC], 7, Wins.LONGEST)
    assert [rule.id for rule in wished.rules] == ["1", "2"] and wished.default_days == 7


async def test_a_policy_follows_what_another_process_stores(node: StorageNode, acme: Customer) -> None:
    assert (await acme.rules.policy()).default_days == 180
    async with node.opened() as other:
        for days in (7, 8):
            node.watch.wait(seconds=1)
            await other.rules.put([SBC], by="ada", default_days=days)
            assert (await acme.rules.policy()).default_days == days
    await acme.rules.put([], by="ada", default_days=9)  # the clock stands still
    assert (await acme.rules.policy()).default_days == 9


async def test_a_policy_is_cached_unless_it_names_a_user(acme: Customer) -> None:
    told: list[int] = []
    acme.rules.on_change(lambda: told.append(1))
    for rules, same in (([], True), ([SBC], True), ([SBC, MIRA], False)):
        await acme.rules.put(rules, by="ada")
        first = await acme.rules.policy()
        assert (await acme.rules.policy() is first) is same
    assert told == [1, 1, 1]


@pytest.mark.parametrize(
    "rule",
    [
        RuleSpec(-1),
        RuleSpec(36_501),
        RuleSpec(1, party=" "),
        RuleSpec(1, source="a b"),
        RuleSpec(1, source=""),
        RuleSpec(1, source="sbc1.acme.example"),  # calls know an address, so nothing would ever match
        RuleSpec(1, name="x" * 201),
    ],
)
def test_an_impossible_rule_is_refused_without_its_values(rule: RuleSpec) -> None:
    with pytest.raises(BadRule) as refused:
        check([RuleSpec(1), rule], 180)
    assert str(refused.value).startswith("rule 2: ")


def test_too_many_rules_and_a_senseless_default_are_refused() -> None:
    check([RuleSpec(1, source="2001:db8::/32")] * MAX_RULES, None)
    for rules, days in ([RuleSpec(1)] * (MAX_RULES + 1), 1), ([], -1):
        with pytest.raises(BadRule):
            check(rules, days)
