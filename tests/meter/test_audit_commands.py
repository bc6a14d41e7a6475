"""Entries of the authority, and the genesis, that the audit finds to be against the rules."""

import pytest
from msgspec.structs import replace

from ledger.canon import decode
from ledger.errors import Violation
from ledger.tlog import Tree
from meter.auditor.replay import Audit
from meter.rules import commands
from meter.rules.entries import FLOORED_CLASSES
from meter.rules.kinds.table import command_of
from tests.auditing import assert_found, audited, changed, found, policy, without, world
from tests.books import PROGRAMME
from tests.writer import Writer


def test_a_wrong_ratio_class_is_found():
    writer = world()
    writer.tell = changed("contract", ratio_class="startup")
    with found(writer, "not_as_decided", "class is 'startup', not 'standard'"):
        writer.contract("C")


def test_a_contract_under_a_policy_that_was_replaced_is_found():
    writer = world()
    writer.activate(policy(version="next", standard=4_000))
    writer.tell = changed("contract", policy="test")
    with found(writer, "not_as_decided", "policy is 'test', not 'next'"):
        writer.contract("C")


@pytest.mark.parametrize(
    ("figures", "lie", "words"),
    [
        ({"cap": "500.00"}, {"cap": 10**9}, "cap_exceeded"),
        ({"threshold": "2000.01"}, {"threshold": 0}, "below_threshold"),
    ],
)
def test_a_coupon_against_the_limits_is_found(figures, lie, words):
    writer = Writer()
    writer.activate(policy(**figures))
    writer.provider()
    writer.enterprise()
    writer.contract("A", amount="2000.00")
    versions = writer.state.policies[PROGRAMME]
    versions["test"] = replace(versions["test"], **lie)
    with found(writer, "not_allowed", words):
        writer.issue(2025, "500.01")


def test_a_coupon_beyond_the_pool_is_found():
    writer = world(pool="500.00")
    writer.state.pools[PROGRAMME, 2025].stated = 10**9
    with found(writer, "floor_broken", f"pool:{PROGRAMME}:2025"):
        writer.issue(2025, "100.01")


def test_a_coupon_beyond_the_pool_without_postings_is_found():
    writer = world(pool="500.00")
    writer.state.pools[PROGRAMME, 2025].stated = 10**9
    writer.tell = changed("issue", postings=[])
    with found(writer, "not_allowed", "pool_exceeded"):
        writer.issue(2025, "100.01")


def test_a_command_repeated_is_found():
    writer = world()
    with found(writer, "repeated", "entry 4"):
        writer.write(replace(writer.entries[4], request="again", at=writer.now))


def test_a_request_carried_out_twice_is_found():
    writer = world()
    with found(writer, "request_reused"):
        writer.write(replace(writer.entries[-1], postings=[]))


def test_a_request_of_one_person_may_be_that_of_another():
    writer = world()
    command = command_of(writer.entries[-1])
    writer.contract("C", amount="1000.00")
    for person in ("li", "zhao"):
        writer.ask(commands.RegisterPerson, id=person)
        writer.ask(commands.MakeToken, id=f"{person}-1", holder=person)
        writer.do(command, f"{person}-1", "request-1")
    assert audited(writer)[0].findings == []


def test_a_request_of_one_person_is_found_again_under_another_token():
    writer = world()
    command = command_of(writer.entries[-1])
    writer.contract("C", amount="1000.00")
    writer.ask(commands.MakeToken, id="op-2", holder="op")
    writer.do(command, "op-2", "again")
    with found(writer, "request_reused"):
        writer.do(command, "op-1", "again")


def test_a_command_without_a_request_is_found():
    writer = world()
    with found(writer, "malformed_entry", "request"):
        writer.write(without(decode(writer.leaves[-1]), {"request"}))


def test_an_entry_of_an_unknown_kind_is_found():
    writer = world()
    with found(writer, "malformed_entry", "gift"):
        writer.write(decode(writer.leaves[-1]) | {"kind": "gift"})


def test_a_second_genesis_is_found():
    writer = world()
    with found(writer, "bad_fields", "genesis"):
        writer.write(replace(writer.entries[0], at=writer.now))
    audit = Audit()
    audit.entry(0, writer.leaves[0], decode(writer.leaves[0]), [], Tree())
    with pytest.raises(Violation) as violation:
        audit.entry(1, writer.leaves[0], decode(writer.leaves[0]), [], Tree())
    assert violation.value.code == "second_genesis"


def test_a_ledger_that_begins_with_something_else_is_found():
    writer = world()
    with pytest.raises(Violation) as violation:
        Audit().entry(0, writer.leaves[1], decode(writer.leaves[1]), [], Tree())
    assert violation.value.code == "unexpected_entry"


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("wrong_floors", {"floors": ["accrued", "coupon", "due"]}),
        ("wrong_floors", {"floors": [*FLOORED_CLASSES, "enterprise"]}),
        ("not_as_decided", {"postings": [("treasury:x:2025", "accrued:A:2025", 1)]}),
        ("other_origin", {"origin": "kashi.test/other"}),
    ],
)
def test_a_genesis_against_the_rules_is_found(code, changes):
    assert_found(Writer(floors=(), genesis=changes), code, 0)
