"""Two persons: who may give a command alone, who confirms one, and until when; the rules alone."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from ledger.canon import encode
from ledger.errors import Violation
from ledger.tlog import Tree, leaf_hash
from meter.auditor.replay import Audit
from meter.auditor.sum_persons import Persons
from meter.auditor.sums import Sums
from meter.client import registration
from meter.rules import commands
from meter.rules.decide_command import response_to
from meter.rules.entries import FirstPerson
from meter.rules.kinds.table import BY_NAME
from meter.rules.two_persons import ALONE, PROPOSABLE, check_genesis, needs_two
from meter.values.problems import Problem
from meter.values.units import DAY_SECONDS, MICROSECONDS, format_moment
from tests.books import ALPHA, BETA, ORIGIN, PROGRAMME, SHIPPED, Books, signer
from tests.services import contract_body
from tests.summing import found, summed, told
from tests.writer import Writer, bent

DAYS_30 = 30 * DAY_SECONDS * MICROSECONDS
ISSUE = {"programme": PROGRAMME, "enterprise": ALPHA, "year": 2025, "amount": "400.00"}
CONTRACT = contract_body("A")


def two(**names: Any) -> Writer:
    """Return a ledger of wang and li, in which `ALPHA` has contract A and can get a coupon."""
    writer = Writer(persons=("wang", "li"), **names)
    by_both(writer, "policy", programme=PROGRAMME, version="2024-12", content=SHIPPED)
    by_both(
        writer,
        "provider",
        id="pcl",
        uscc="91350100M000100Y43",
        name="鹏城云脑",
        devices={"ascend-910b": 512},
        enlisted={"batch": "1", "from": "2025-01-01", "until": "2027-01-01"},
    )
    writer.enterprise()
    writer.contract("A")
    return writer


def by_both(books: Books, command: str, /, **body: Any) -> int:
    """Let wang propose and li confirm; returns the number of the command's entry."""
    return books.confirm(books.propose(command, "wang-1", **body), "li-1")


def refusal(ask: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(Problem) as problem:
        ask(*arguments, **named)
    return problem.value.code


def audit(writer: Writer) -> Audit:
    """Judge all entries as an auditor does."""
    judge, tree = Audit(), Tree()
    for number, data in enumerate(writer.leaves):
        judge.entry(number, data, msgspec.json.decode(data), writer.files.get(number, []), tree)
        tree.append(leaf_hash(data))
    judge.finish()
    add_up(writer)
    return judge


def violation(writer: Writer) -> str:
    """Return what the audit finds; the independent sums find a fault in the same entry."""
    with pytest.raises(Violation) as found:
        audit(writer)
    with pytest.raises(Violation) as summed:
        add_up(writer)
    assert summed.value.code == "sum_persons"
    return f"{found.value.code}: {found.value.detail}"


def add_up(writer: Writer) -> None:
    sums = Sums()
    for number, data in enumerate(writer.leaves):
        sums.entry(number, data)
    sums.finish()


# Alone or not


def test_one_person_gives_what_the_list_names_and_nothing_else():
    assert [
        *("approval", "claim", "claim_check", "claim_end", "claim_revocation", "contract"),
        *("enterprise", "freeze", "notice", "objection", "order", "payment", "project"),
        *("proposal", "proposal_end", "resolution", "revocation", "token_end"),
    ] == ALONE
    assert {name for name, kind in BY_NAME.items() if kind.command and kind.persons == 0} == {
        *("person_recovery", "access_digest", "state_digest")
    }
    assert set(PROPOSABLE) == {
        *("policy", "provider", "enlistment", "key", "revocation", "enterprise", "contract"),
        *("log_key", "log_key_retirement", "receipt_key", "receipt_key_retirement"),
        *("freeze", "unfreeze", "release", "void", "amendment", "late_window"),
        *("issue", "allocation", "withdrawal", "expiry", "year_closing"),
        *("month_closing", "month_confirmation", "dispute", "dispute_dismissal"),
        *("person", "person_end", "token", "token_end"),
        *("approval", "claim", "claim_check", "claim_end", "claim_revocation", "notice"),
        *("objection", "order", "payment", "resolution"),
        *("payment_return", "recovery", "red_invoice", "forfeit"),
        *("budget", "project", "project_audit", "project_funds", "award", "award_change"),
        *("contract_funds", "succession", "enterprise_amendment", "provider_amendment"),
    }


def test_a_project_is_registered_by_one_and_its_audited_investment_by_two():
    writer = two()
    writer.project("P")
    assert refusal(writer.project, "Q", audited_investment="1.00") == "two_persons_needed"
    by_both(writer, "project", id="Q", title="平台", audited_investment="1.00")
    audit(writer)
    with lenient(writer):
        writer.project("R", audited_investment="1.00")
    assert "two_persons_needed" in violation(writer)


def test_a_command_that_needs_two_is_refused_to_one_and_nothing_is_booked():
    books = two()
    before = len(books.entries)
    assert refusal(books.issue, 2025, "1.00") == "two_persons_needed"
    assert refusal(books.key) == "two_persons_needed"
    assert refusal(books.person, "zhao") == "two_persons_needed"
    assert refusal(books.unfreeze, "A") == "two_persons_needed"
    books.freeze("A")
    books.ask(commands.EndToken, token="li-1")
    assert len(books.entries) == before + 2


def test_a_contract_above_the_ledgers_figure_needs_two():
    books = two()
    limit = books.state.genesis.contract_limit
    assert limit == 100_000_000
    books.contract("B", amount="1000000.00")
    assert refusal(books.contract, "C", amount="1000000.01") == "two_persons_needed"
    more = {"id": "C", "contract_no": "HT-C", "amount": "1000000.01"}
    number = by_both(books, "contract", **CONTRACT | more)
    assert books.state.contracts["C"].entry == number


def test_a_ledger_may_let_one_person_give_less():
    writer = Writer(persons=("wang", "li"), genesis={"alone": ["proposal"]})
    genesis = writer.state.genesis
    freeze, propose = commands.FreezeContract(contract="A"), commands.Propose(command="", body={})
    assert needs_two(genesis, freeze)
    assert not needs_two(genesis, propose)
    assert refusal(writer.enterprise) == "two_persons_needed"


def test_in_a_trial_ledger_one_person_gives_each_command_and_confirms_alone():
    books = Books()
    books.person("li")
    assert books.confirm(books.propose("person", id="zhao"), "op-1") == len(books.entries) - 1


# Confirmation


def test_the_entry_of_a_confirmed_command_names_both():
    books = two()
    number = books.propose("issue", "wang-1", **ISSUE, reason="decision 12")
    proposal = books.entries[number]
    assert (proposal.by, proposal.person, proposal.command) == ("wang-1", "wang", "issue")
    assert proposal.body == ISSUE | {"reason": "decision 12"}
    assert books.state.coupons == {}
    entry = books.entries[books.confirm(number, "li-1")]
    assert (entry.by, entry.person, entry.proposal) == ("li-1", "li", number)
    assert (entry.kind, entry.amount, entry.reason) == ("issue", 40_000, "decision 12")
    assert books.state.coupons == {(ALPHA, PROGRAMME, 2025): 40_000}
    assert audit(books).state.people == books.state.people


def test_another_token_of_the_same_person_confirms_nothing():
    books = two()
    by_both(books, "token", id="wang-2", holder="wang")
    number = books.propose("issue", "wang-1", **ISSUE)
    for token in ("wang-1", "wang-2"):
        assert refusal(books.confirm, number, token) == "same_person"
    assert books.confirm(number, "li-1")


def test_a_proposal_is_decided_on_the_state_of_its_confirmation():
    books = two()
    early = books.propose("issue", "wang-1", **ISSUE | {"enterprise": BETA})
    assert refusal(books.confirm, early, "li-1") == "unknown_enterprise"
    first = books.propose("issue", "wang-1", **ISSUE | {"amount": "500000.00"})
    second = books.propose("issue", "wang-1", **ISSUE | {"amount": "500000.00"})
    books.confirm(second, "li-1")
    size = len(books.entries)
    assert refusal(books.confirm, first, "li-1") == "above_need"
    assert len(books.entries) == size
    # It stays open: what stood in its way may pass.
    by_both(books, "withdrawal", **ISSUE | {"amount": "500000.00"})
    assert books.confirm(first, "li-1") == len(books.entries) - 1


def test_a_proposal_is_confirmed_once():
    books = two()
    number = books.propose("issue", "wang-1", **ISSUE)
    entry = books.confirm(number, "li-1")
    with pytest.raises(Problem) as problem:
        books.confirm(number, "li-1")
    assert (problem.value.code, problem.value.facts) == ("proposal_closed", {"entry": entry})


def test_a_proposal_of_what_exists_already_makes_no_entry():
    books = two()
    entry = books.state.enterprises[ALPHA].entry
    body = {"uscc": ALPHA, "name": "深圳某某科技", "applicant": "enterprise"}
    number = books.propose("enterprise", "wang-1", **body, founded_on="2019-04-01")
    assert books.confirm(number, "li-1") == entry
    assert len(books.entries) == number + 1


@pytest.mark.parametrize(("late", "code"), [(-1, ""), (0, "proposal_closed")])
def test_a_proposal_is_open_for_thirty_days(late, code):
    books = two()
    number = books.propose("issue", "wang-1", **ISSUE)
    books.now += DAYS_30 + late
    if code:
        assert refusal(books.confirm, number, "li-1") == code
        assert refusal(books.end_proposal, number, "wang-1") == code
    else:
        assert books.confirm(number, "li-1")
        audit(books)


def test_a_proposal_is_ended_by_its_maker_alone():
    books = two()
    by_both(books, "token", id="wang-2", holder="wang")
    number = books.propose("issue", "wang-1", **ISSUE)
    assert refusal(books.end_proposal, number, "li-1") == "not_its_maker"
    books.end_proposal(number, "wang-2")
    assert refusal(books.confirm, number, "li-1") == "proposal_closed"
    assert refusal(books.end_proposal, number, "wang-1") == "proposal_closed"
    audit(books)


def test_a_proposal_ends_with_its_maker():
    books = two()
    by_both(books, "person", id="zhao")
    number = books.propose("issue", "wang-1", **ISSUE)
    end = books.propose("person_end", "li-1", id="wang")
    by_both(books, "token", id="zhao-1", holder="zhao")
    books.confirm(end, "zhao-1")
    assert refusal(books.confirm, number, "li-1") == "proposal_closed"
    assert refusal(books.propose, "issue", "wang-1", **ISSUE) == "unauthorized"


@pytest.mark.parametrize(
    ("command", "body"),
    [
        ("nothing", {}),
        ("proposal", {"command": "issue", "body": ISSUE}),
        ("proposal_end", {"proposal": "1"}),
        ("person_recovery", {"id": "x", "token": "x-1"}),
        ("access_digest", {"day": "2025-01-01", "rows": 1, "sha256": "0d" * 32}),
        ("state_digest", {}),
        ("batch", {}),
        ("issue", {}),
        ("issue", ISSUE | {"amount": 400}),
        ("issue", ISSUE | {"more": 1}),
        ("issue", ISSUE | {"reason": "a\u202eb"}),
        ("issue", ISSUE | {"reason": "e\u0301"}),
        ("freeze", {"contract": "A", "reason": "two\nlines"}),
        ("person", {"id": None}),
        ("person", {"id": 1.5}),
    ],
)
def test_a_proposal_that_no_command_could_be_read_from_is_malformed(command, body):
    books = two()
    before = len(books.entries)
    assert refusal(books.propose, command, "wang-1", **body) == "malformed"
    assert len(books.entries) == before


def test_a_proposal_of_64_000_bytes_is_taken_and_none_that_is_longer():
    books = two()
    body = {"programme": PROGRAMME, "version": "new", "content": ""}
    content = "x" * (64_000 - len(encode(body)))
    assert refusal(books.propose, "policy", "wang-1", **body | {"content": f"{content}x"}) == (
        "too_large"
    )
    number = books.propose("policy", "wang-1", **body | {"content": content})
    assert len(encode(books.entries[number].body)) == 64_000


def test_a_response_tells_until_when_a_proposal_can_be_confirmed():
    books = two()
    number = books.propose("issue", "wang-1", **ISSUE)
    made = books.entries[number]
    until = {"until": format_moment(made.at + DAYS_30)}
    assert response_to(books.state, number, made) == {"entry": number, **until}


def test_what_is_no_proposal_cannot_be_confirmed_or_ended():
    books = two()
    for number in (0, 10_000):
        assert refusal(books.confirm, number, "li-1") == "unknown_proposal"
        assert refusal(books.end_proposal, number, "li-1") == "unknown_proposal"


# Persons and tokens


def test_two_persons_remain_or_one_in_a_trial_ledger():
    books = two()
    end = books.propose("person_end", "wang-1", id="li")
    assert refusal(books.confirm, end, "li-1") == "last_person"
    by_both(books, "person", id="zhao")
    books.confirm(end, "li-1")
    assert books.state.people.active() == ["wang", "zhao"]
    trial = Books()
    assert refusal(trial.ask, commands.EndPerson, id="op") == "last_person"
    trial.person("li")
    trial.ask(commands.EndPerson, id="op")
    assert trial.state.people.active() == ["li"]


def test_an_id_that_has_ended_does_not_come_back_and_none_looks_like_another():
    books = Books()
    first = books.person("li")
    assert books.person("li") == first
    assert refusal(books.person, "Li") == "looks_alike"
    token = books.token("li-1", "li")
    assert books.token("li-1", "li") == token
    assert refusal(books.token, "li-1", "op") == "exists_differently"
    assert refusal(books.token, "LI-1", "li") == "looks_alike"
    books.ask(commands.EndToken, token="li-1")
    assert refusal(books.token, "li-1", "li") == "already_ended"
    assert refusal(books.ask, commands.EndToken, token="li-1") == "already_ended"
    books.ask(commands.EndPerson, id="li")
    assert refusal(books.person, "li") == "already_ended"
    assert refusal(books.ask, commands.EndPerson, id="li") == "already_ended"
    assert refusal(books.token, "li-2", "li") == "already_ended"
    assert refusal(books.recover_person, "li", "li-3") == "already_ended"
    assert refusal(books.token, "x", "nobody") == "unknown_person"
    assert refusal(books.ask, commands.EndPerson, id="nobody") == "unknown_person"
    assert refusal(books.ask, commands.EndToken, token="nobodys") == "unknown_token"


def test_a_persons_tokens_are_those_that_have_not_ended_the_oldest_first():
    books = two()
    for number in (2, 3):
        by_both(books, "token", id=f"wang-{number}", holder="wang")
    books.ask(commands.EndToken, token="wang-2")
    people = books.state.people
    held = [people.tokens_of(name) for name in ("wang", "li", "nobody")]
    assert held == [["wang-1", "wang-3"], ["li-1"], []]


def test_a_token_that_no_entry_names_or_that_has_ended_gives_no_command():
    books = two()
    command = commands.FreezeContract(contract="A")
    assert refusal(books.do, command, "zhao-1") == "unauthorized"
    books.ask(commands.EndToken, token="li-1")
    assert refusal(books.do, command, "li-1") == "unauthorized"
    assert books.do(command, "wang-1")


def test_an_operator_recovers_a_known_or_a_new_person_by_an_entry():
    books = two()
    books.ask(commands.EndToken, token="li-1")
    books.recover_person("li", "li-2")
    books.recover_person("zhao", "zhao-1")
    entry = books.entries[-1]
    assert (entry.kind, entry.by, entry.person) == ("person_recovery", "zhao-1", "zhao")
    assert books.confirm(books.propose("issue", "li-2", **ISSUE), "zhao-1")
    assert refusal(books.recover_person, "wang", "wang-1") == "exists_differently"
    recovery = commands.RecoverPerson(id="wang", token="wang-2")
    assert refusal(books.do, recovery, "li-2") == "unauthorized"
    audit(books)


# Entry 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"persons": [FirstPerson("wang", "wang-1")]}, "last_person"),
        ({"persons": [], "one_person": True}, "last_person"),
        ({"one_person": True}, "last_person"),
        (
            {
                "persons": [FirstPerson("wang", "wang-1")],
                "one_person": True,
                "origin": "kashi.gov.cn/x",
            },
            "two_persons_needed",
        ),
        ({"persons": [FirstPerson("wang", "wang-1"), FirstPerson("Wang", "b")]}, "looks_alike"),
        ({"persons": [FirstPerson("wang", "wang-1"), FirstPerson("b", "wang-1")]}, "looks_alike"),
        ({"persons": [FirstPerson("wang", "wang-1"), FirstPerson("a b", "b")]}, "malformed"),
        ({"alone": [*ALONE, "unfreeze"]}, "two_persons_needed"),
        ({"alone": ["issue"]}, "two_persons_needed"),
        ({"alone": ["freeze", "contract"]}, "two_persons_needed"),
        ({"contract_limit": -1}, "two_persons_needed"),
        ({"by": "li-1"}, "unauthorized"),
        ({"person": "li"}, "unauthorized"),
    ],
)
def test_an_auditor_refuses_an_entry_0_that_lets_one_person_do_more(changes, code):
    genesis = Books(persons=("wang", "li")).entries[0]
    check_genesis(genesis)
    check_genesis(replace(genesis, contract_limit=0))
    check_genesis(replace(genesis, origin="kashi.gov.cn/x"))
    assert refusal(check_genesis, replace(genesis, **changes)) == code


def test_the_audit_checks_the_persons_of_entry_0():
    assert "last_person" in violation(Writer(persons=("wang", "li"), genesis={"one_person": True}))


# A dishonest writer


def lenient(writer: Writer) -> Any:
    """Decide as if one person were enough."""
    genesis = replace(writer.state.genesis, one_person=True)
    return bent(writer.state, genesis=genesis)


def test_the_sums_find_what_one_person_may_not_give():
    entries = told(two())
    summed(entries)
    entries[0]["alone"].append("issue")
    found(entries, "sum_persons", "one person may not issue")


def test_the_sums_find_a_proposal_that_another_person_ends():
    writer = two()
    writer.end_proposal(writer.propose("issue", "wang-1", **ISSUE), "wang-1")
    entries = told(writer)
    summed(entries)
    entries[-1] |= {"by": "li-1", "person": "li"}
    found(entries, "sum_persons", "wang made the proposal that it ends")


def test_an_unconfirmed_command_is_found():
    writer = two()
    with lenient(writer):
        writer.issue(2025, "1.00")
    assert "two_persons_needed" in violation(writer)


def test_one_person_twice_is_found():
    writer = two()
    number = writer.propose("issue", "wang-1", **ISSUE)
    with lenient(writer):
        writer.confirm(number, "wang-1")
    assert "same_person" in violation(writer)


def test_a_confirmation_after_thirty_days_is_found():
    writer = two()
    number = writer.propose("issue", "wang-1", **ISSUE)
    proposal = writer.state.people.proposals[number]
    writer.now += DAYS_30
    with bent(proposal, made=replace(proposal.made, at=writer.now)):
        writer.confirm(number, "li-1")
    assert "proposal_closed" in violation(writer)


def test_a_confirmation_of_what_was_ended_or_confirmed_is_found():
    for close in (
        lambda writer, number: writer.end_proposal(number, "wang-1"),
        lambda writer, number: writer.confirm(number, "li-1"),
    ):
        writer = two()
        number = writer.propose("issue", "wang-1", **ISSUE)
        close(writer, number)
        with bent(writer.state.people.proposals[number], closed=None):
            writer.confirm(number, "li-1")
        assert "proposal_closed" in violation(writer)


def test_another_command_than_the_proposed_one_is_found():
    writer = two()
    number = writer.propose("issue", "wang-1", **ISSUE)
    proposal = writer.state.people.proposals[number]
    more = replace(proposal.made, body=ISSUE | {"amount": "400.01"})
    with bent(proposal, made=more):
        writer.confirm(number, "li-1")
    assert "not_as_decided: amount is 40001, not 40000" in violation(writer)


def test_the_sums_read_prices_instants_and_periods_as_a_proposal_has_them():
    writer = two()
    by_both(writer, "contract", **CONTRACT | {"id": "B", "contract_no": "HT-B"})
    by_both(writer, "key", **registration(signer("pcl-1"), ORIGIN, "pcl", "pcl-1"), provider="pcl")
    by_both(writer, "revocation", keyid="pcl-1", suspected_since="2025-03-01T08:00:00+08:00")
    audit(writer)


@pytest.mark.parametrize(
    "changes",
    [
        {"prices": {"ascend-910b": "4.51"}},
        {"prices": {"ascend-910c": "4.50"}},
        {"starts": "2024-12-02"},
        {"amount": "999999.99"},
        {"related_party": True},
        {"contract_no": "HT-C"},
        {"follows": "A"},
    ],
)
def test_a_contract_with_other_terms_than_the_proposed_ones_is_found(changes):
    writer = two()
    body = {("from" if name == "starts" else name): value for name, value in changes.items()}
    terms = CONTRACT | {"id": "B", "contract_no": "HT-B"}
    number = writer.propose("contract", "wang-1", **terms)
    proposal = writer.state.people.proposals[number]
    other = replace(proposal.made, body=proposal.made.body | body)
    with bent(proposal, made=other):
        writer.confirm(number, "li-1")
    assert "not_as_decided" in violation(writer)


def test_another_person_than_the_tokens_is_found():
    writer = two()
    writer.tell = lambda _, entry: replace(entry, person="li")
    writer.freeze("A")
    assert "person is 'li', not 'wang'" in violation(writer)


# The sums, without the rules


def by_the_sums(entries: list[dict[str, Any]]) -> str:
    """Return what the sums say of who gave which command; nothing where all is right."""
    persons = Persons()
    try:
        for number, fields in enumerate(entries):
            persons.entry(number, fields)
    except Violation as violation:
        return violation.detail
    return ""


@pytest.mark.parametrize(
    ("kind", "lie", "words"),
    [
        ("freeze", {"by": "li-1"}, "li-1 is no token of wang"),
        ("freeze", {"by": "zhao-1", "person": "zhao"}, "zhao-1 is no token of zhao"),
        ("freeze", {"proposal": 0}, "entry 0 is no open proposal"),
        ("freeze", {"kind": "unfreeze"}, "a unfreeze by wang alone"),
        ("issue", {"by": "wang-1", "person": "wang"}, "wang confirms a proposal of the same"),
        ("issue", {"amount": 400_01}, "it is not what entry"),
        ("issue", {"kind": "withdrawal"}, "it is not what entry"),
        ("genesis", {"origin": "kashi.com", "one_person": True}, "kashi.com has one person and"),
        ("genesis", {"origin": "kashi.test", "one_person": True}, "2 persons begin"),
        ("genesis", {"origin": "kashi.com"}, ""),
        ("genesis", {"persons": []}, "0 persons begin"),
        ("genesis", {"persons": [{"id": "wang", "token": "wang-1"}]}, "1 persons begin"),
        ("genesis", {"alone": ["freeze"]}, "a proposal by wang alone"),
        ("genesis", {"contract_limit": 999_999_99}, "a contract by wang alone"),
        ("genesis", {"contract_limit": 1_000_000_00}, ""),
    ],
)
def test_the_sums_find_who_gives_what_is_not_theirs(kind, lie, words):
    writer = two()
    by_both(writer, "issue", **ISSUE)
    writer.freeze("A")
    entries = told(writer)
    assert by_the_sums(entries) == ""
    (entry,) = (each for each in entries if each["kind"] == kind)
    entry |= lie
    assert words in by_the_sums(entries)
    assert bool(words) == bool(by_the_sums(entries))


VALUES = ("12", ["1", "2"], {"1": "1", "2": "2"}, 7)


@pytest.mark.parametrize("proposed", VALUES)
@pytest.mark.parametrize("stated", VALUES)
def test_the_sums_find_a_value_of_another_type_than_proposed(proposed, stated):
    entries = told(two())
    (entry,) = (each for each in entries if each["kind"] == "provider")
    entries[entry["proposal"]]["body"]["name"], entry["name"] = proposed, stated
    words = "" if proposed == stated else f"it is not what entry {entry['proposal']} proposes"
    assert by_the_sums(entries) == words


def test_the_sums_find_a_list_that_is_shorter_or_longer_than_proposed():
    entries = told(two())
    (entry,) = (each for each in entries if each["kind"] == "provider")
    body = entries[entry["proposal"]]["body"]
    for proposed, stated in ((["1", "2"], ["1"]), (["1"], ["1", "2"]), ([], ["1"]), (["1"], [])):
        body["name"], entry["name"] = proposed, stated
        assert "it is not what entry" in by_the_sums(entries)


def test_without_an_entry_0_nobody_gives_anything_alone():
    writer = two()
    writer.recover_person("zhao", "zhao-1")
    entries = told(writer)
    (contract,) = (each for each in entries if each["kind"] == "contract")
    contract |= {"by": "zhao-1", "person": "zhao"}
    assert by_the_sums([entries[-1], contract]) == "a contract by zhao alone"


def test_the_sums_find_what_is_confirmed_of_one_whose_rights_have_ended():
    writer = two()
    by_both(writer, "person", id="zhao")
    by_both(writer, "token", id="zhao-1", holder="zhao")
    number = writer.propose("issue", "wang-1", **ISSUE)
    confirmed = writer.confirm(number, "li-1")
    writer.confirm(writer.propose("person_end", "li-1", id="wang"), "zhao-1")
    entries = told(writer)
    assert by_the_sums(entries) == ""
    entries.append(entries[confirmed])
    entries[confirmed] = {"kind": "batch"}  # what is named by number stays where it was
    assert by_the_sums(entries) == f"entry {number} is no open proposal"


def test_the_sums_find_what_is_given_with_a_token_that_has_ended():
    writer = two()
    by_both(writer, "token", id="wang-2", holder="wang")
    writer.do(commands.EndToken(token="wang-2"))
    writer.freeze("A")
    entries = told(writer)
    assert by_the_sums(entries) == ""
    entries[-1]["by"] = "wang-2"
    assert by_the_sums(entries) == "wang-2 is no token of wang"


@pytest.mark.parametrize("late", [-1, 0])
def test_the_sums_know_how_long_a_proposal_is_open(late):
    writer = two()
    number = writer.propose("issue", "wang-1", **ISSUE)
    writer.confirm(number, "li-1")
    entries = told(writer)
    entries[-1]["at"] = entries[number]["at"] + DAYS_30 + late
    words = "" if late < 0 else f"the proposal of entry {number} is too old"
    assert by_the_sums(entries) == words


def test_the_sums_count_the_persons_who_are_left():
    writer = two()
    registered = by_both(writer, "person", id="zhao")
    ended = by_both(writer, "person_end", id="zhao")
    entries = told(writer)
    assert by_the_sums(entries) == ""
    for number, name in ((registered, "wang"), (ended, "li")):
        entries[number]["id"] = entries[entries[number]["proposal"]]["body"]["id"] = name
    assert by_the_sums(entries) == "1 persons are left"
