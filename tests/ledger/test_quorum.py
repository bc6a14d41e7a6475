from dataclasses import replace
from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.cosign import Cosigned, Cosigner, add_cosignatures
from ledger.errors import BadNote, BadPolicy, LedgerError, NotWitnessed
from ledger.note import Checkpoint, Signer, sign
from ledger.quorum import Group, Log, TrustPolicy, Witness, open_trusted
from tests.ledger.example import (
    COSIGNED,
    LOG,
    LOG_VKEY,
    SIGNED,
    TEXT,
    TIME,
    WITNESS,
    WITNESS_SKEY,
    WITNESS_VKEY,
    flips,
)

POLICY = f"log {LOG_VKEY}\nwitness w {WITNESS_VKEY}\nquorum w\n"
COSIGNERS = [
    Cosigner.from_seed(f"example.com/c{number}", bytes([number] * 32)) for number in range(32)
]


def witness(name, number):
    return f"witness {name} {COSIGNERS[number].verifier.format()}\n"


X = "".join(witness(f"X{number}", number) for number in (1, 2, 3))
Y = "".join(witness(f"Y{number}", number) for number in (4, 5, 6))
TWO_LEVELS = (
    f"{X}group X 2 X1 X2 X3\n{Y}group Y any Y4 Y5 Y6\ngroup X-and-Y all X Y\nquorum X-and-Y\n"
)


def subsets(names):
    return map(set, chain.from_iterable(combinations(names, n) for n in range(len(names) + 1)))


def test_a_policy_is_read():
    text = (
        f"log {LOG_VKEY} https://log.example/\n{witness('a', 1)}{witness('b', 2)}"
        "group g 2 a b\nquorum g\n"
    )
    assert TrustPolicy.parse(text) == TrustPolicy(
        logs=(Log(LOG.verifier, "https://log.example/"),),
        witnesses=(Witness("a", COSIGNERS[1].verifier), Witness("b", COSIGNERS[2].verifier)),
        groups=(Group("g", 2, ("a", "b")),),
        quorum="g",
    )


def test_of_all_sets_of_witnesses_just_those_with_two_x_and_one_y_are_a_quorum():
    policy = TrustPolicy.parse(TWO_LEVELS)
    for names in subsets([witness.name for witness in policy.witnesses]):
        count = {kind: sum(name.startswith(kind) for name in names) for kind in "XY"}
        assert policy.satisfied_by(names) == (count["X"] >= 2 and count["Y"] >= 1)


def test_only_witnesses_count_not_the_names_of_groups_or_of_strangers():
    policy = TrustPolicy.parse(TWO_LEVELS)
    assert not policy.satisfied_by({"X", "Y", "X-and-Y", "none", "Z"})
    assert policy.satisfied_by({"X1", "X3", "Y5", "Z"})


def test_a_quorum_may_be_one_witness_or_none():
    assert TrustPolicy.parse(POLICY).satisfied_by({"w"})
    assert not TrustPolicy.parse(POLICY).satisfied_by(set())
    nobody = TrustPolicy.parse("quorum none\n")
    assert nobody == TrustPolicy((), (), (), None)
    assert nobody.satisfied_by(set())


@pytest.mark.parametrize("threshold", ["any", "all", "1", "2", "3"])
def test_a_group_counts_from_its_threshold_on(threshold):
    policy = TrustPolicy.parse(f"{X}group g {threshold} X1 X2 X3\nquorum g\n")
    least = {"any": 1, "all": 3}.get(threshold) or int(threshold)
    for names in subsets(["X1", "X2", "X3"]):
        assert policy.satisfied_by(names) == (len(names) >= least)


def test_spaces_tabs_comments_and_empty_lines_do_not_matter():
    loose = (
        f"# a comment with a quorum none\n\n \t \n\t# another\n  log\t{LOG_VKEY}  \n"
        f"witness  w \t{WITNESS_VKEY}\n#\nquorum\tw\t\n#quorum none\n"
    )
    assert TrustPolicy.parse(loose) == TrustPolicy.parse(POLICY)
    assert TrustPolicy.parse(loose).format() == POLICY


def test_definitions_may_follow_the_quorum_and_names_may_be_in_any_script():
    text = f"{witness('审计', 1)}quorum 审计\n{witness('#all', 2)}group any all #all\n"
    policy = TrustPolicy.parse(text)
    assert policy.satisfied_by({"审计"})
    assert TrustPolicy.parse(policy.format()) == policy
    # A Kelvin sign is not K, and a no-break space does not separate words.
    kelvin = TrustPolicy.parse(f"{witness('K', 1)}{witness(chr(0x212A), 2)}quorum K\n")
    assert not kelvin.satisfied_by({"\u212a"})
    assert (
        TrustPolicy.parse(f"{witness(f'a{chr(0xA0)}b', 1)}quorum a\u00a0b\n").quorum == "a\u00a0b"
    )


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", None, "no quorum"),
        (f"log {LOG_VKEY}\n", None, "no quorum"),
        ("#quorum none\n", None, "no quorum"),
        ("quorum none", 1, "no line feed"),
        ("quorum none\n ", 2, "no line feed"),
        ("quorum none\r\n", 1, "control character"),
        ("quorum none\n# \x00\n", 2, "control character"),
        ("quorum none\n\x0b\n", 2, "control character"),
        ("quorum none\n\x7f\n", 2, "control character"),
        ("\ufeffquorum none\n", 1, "a line is"),
        ("Quorum none\n", 1, "a line is"),
        ("quorum\n", 1, "a line is"),
        ("quorum none none\n", 1, "a line is"),
        ("quorum none # nobody\n", 1, "a line is"),
        ("quorum none\nquorum none\n", 2, "already"),
        (f"{POLICY}quorum w\n", 4, "already"),
        ("quorum w\n", 1, "no line above defines 'w'"),
        (f"quorum w\nwitness w {WITNESS_VKEY}\n", 1, "no line above"),
        ("log\n", 1, "a line is"),
        (f"log {LOG_VKEY} a b\n", 1, "a line is"),
        (f"log {WITNESS_VKEY}\n", 1, "type 1"),
        (f"log {LOG_VKEY.replace('d455', 'D455')}\n", 1, "spelling"),
        (f"{POLICY}log {LOG_VKEY} https://elsewhere/\n", 4, "another log"),
        (f"witness {WITNESS_VKEY}\n", 1, "a line is"),
        (f"witness w {WITNESS_VKEY} a b\n", 1, "a line is"),
        (f"witness w {LOG_VKEY}\n", 1, "type 4"),
        (f"witness none {WITNESS_VKEY}\n", 1, "taken"),
        (POLICY + witness("w", 1), 4, "taken"),
        (f"{POLICY}witness w2 {WITNESS_VKEY}\n", 4, "another witness"),
        (f"{TWO_LEVELS}{witness('X', 9)}", 11, "taken"),
        (f"{POLICY}group w all w\n", 4, "taken"),
        (f"{POLICY}group none all w\n", 4, "taken"),
        (f"{POLICY}group g all w\ngroup g all w\n", 5, "taken"),
        (f"{POLICY}group g all\n", 4, "a line is"),
        (f"{POLICY}group g w\n", 4, "a line is"),
        (f"{POLICY}group g all none\n", 4, "no line above"),
        (f"{POLICY}group g all g\n", 4, "no line above"),
        (f"{POLICY}group g all x\n", 4, "no line above"),
        (f"{POLICY}group g all w w\n", 4, "member already"),
        (f"{POLICY}group g all w\ngroup h all w\n", 5, "member already"),
        (f"{POLICY}group g 0 w\n", 4, "from 1 to 1"),
        (f"{POLICY}group g 2 w\n", 4, "from 1 to 1"),
        (f"{POLICY}group g 01 w\n", 4, "from 1 to 1"),
        (f"{POLICY}group g +1 w\n", 4, "from 1 to 1"),
        (f"{POLICY}group g １ w\n", 4, "from 1 to 1"),
        (f"{POLICY}group g {'9' * 5000} w\n", 4, "from 1 to 1"),
        (f"{POLICY}group g ALL w\n", 4, "from 1 to 1"),
    ],
)
def test_a_policy_that_breaks_a_rule_is_refused_with_its_line(text, line, said):
    with pytest.raises(BadPolicy) as error:
        TrustPolicy.parse(text)
    assert error.value.line == line
    assert said in error.value.detail
    assert line is None or error.value.detail.startswith(f"line {line}: ")


def test_two_logs_or_witnesses_with_one_key_are_refused_though_they_differ_in_name():
    log = Signer.from_seed("example.com/alias", bytes(range(32)))
    with pytest.raises(BadPolicy, match="another log"):
        TrustPolicy.parse(f"{POLICY}log {log.verifier.format()}\n")
    alias = Cosigner.from_seed("example.com/alias", bytes(range(32, 64)))
    with pytest.raises(BadPolicy, match="another witness"):
        TrustPolicy.parse(f"{POLICY}witness alias {alias.verifier.format()}\n")


def test_two_witnesses_whose_keys_have_one_name_are_refused():
    namesake = Cosigner.from_seed(WITNESS.name, bytes(32))
    with pytest.raises(BadPolicy, match="line 4: the key has the name of another"):
        TrustPolicy.parse(f"{POLICY}witness w2 {namesake.verifier.format()}\n")


def test_a_secret_key_in_a_policy_is_not_repeated():
    for line in (f"witness w {WITNESS_SKEY}\n", f"witness {WITNESS_SKEY}\n", f"{WITNESS_SKEY}\n"):
        with pytest.raises(BadPolicy) as error:
            TrustPolicy.parse(line)
        assert "BCAh" not in str(error.value)


def test_32_logs_witnesses_and_groups_are_taken():
    logs = [Signer.from_seed(f"log{n}", bytes([n] * 32)).verifier.format() for n in range(32)]
    lines = [f"log {key}\n" for key in logs]
    lines += [witness(f"w{number}", number) for number in range(32)]
    lines += [f"group g{n} all w{n}{f' g{n - 1}' if n else ''}\n" for n in range(32)]
    policy = TrustPolicy.parse("".join([*lines, "quorum g31\n"]))
    everybody = {f"w{number}" for number in range(32)}
    assert policy.satisfied_by(everybody)
    assert not any(policy.satisfied_by(everybody - {name}) for name in everybody)


def test_a_trusted_checkpoint_is_read_with_the_names_of_the_policy():
    policy = TrustPolicy.parse(POLICY)
    expected = Cosigned(Checkpoint.parse(TEXT), {"w": TIME})
    assert open_trusted(COSIGNED, policy) == expected
    stranger = COSIGNERS[1].cosign(TEXT, TIME)
    assert open_trusted(add_cosignatures(COSIGNED, [stranger]), policy) == expected


def test_every_bit_of_a_checkpoint_with_just_enough_cosignatures_counts():
    policy = TrustPolicy.parse(POLICY)
    for _, changed in flips(COSIGNED):
        with pytest.raises((BadNote, NotWitnessed)):
            open_trusted(changed, policy)


def test_a_checkpoint_with_too_few_cosignatures_is_not_trusted():
    policy = TrustPolicy.parse(f"log {LOG_VKEY}\n{TWO_LEVELS}")
    lines = {w.name: COSIGNERS[n].cosign(TEXT, TIME) for n, w in enumerate(policy.witnesses, 1)}
    for names in [(), ("X1", "X2"), ("X1", "Y4"), ("Y4", "Y5", "Y6")]:
        with pytest.raises(NotWitnessed):
            open_trusted(add_cosignatures(SIGNED, [lines[name] for name in names]), policy)
    note = add_cosignatures(SIGNED, [lines[name] for name in ("Y5", "X3", "X1")])
    assert open_trusted(note, policy).times == {"Y5": TIME, "X3": TIME, "X1": TIME}
    assert open_trusted(SIGNED, replace(policy, quorum=None)).times == {}


def test_a_checkpoint_is_trusted_with_the_signature_of_any_listed_log_over_its_own_origin():
    other = Signer.from_seed("example.com/other", bytes(32))
    renewed = Signer.from_seed(LOG.name, bytes([7] * 32))
    logs = tuple(Log(signer.verifier) for signer in (LOG, other, renewed))
    policy = TrustPolicy(logs, (), (), None)
    assert open_trusted(SIGNED, policy).checkpoint.origin == LOG.name
    assert open_trusted(sign(TEXT, renewed), policy).checkpoint.origin == LOG.name
    assert open_trusted(sign(TEXT, LOG, other), policy).checkpoint.origin == LOG.name
    with pytest.raises(BadNote, match="itself"):
        open_trusted(sign(TEXT, other), policy)
    with pytest.raises(BadNote, match="none of the known"):
        open_trusted(SIGNED, replace(policy, logs=logs[1:]))
    with pytest.raises(BadNote, match="none of the known"):
        open_trusted(SIGNED, replace(policy, logs=()))


@st.composite
def policies(draw):
    """Draw a policy of up to six witnesses; groups take those who are no members yet."""
    names = st.text("abz#—é\u00a0\u212a", min_size=1, max_size=4).filter(lambda n: n != "none")
    taken = draw(st.lists(names, unique=True, max_size=12))
    count = draw(st.integers(0, min(len(taken), 6)))
    url = st.sampled_from(["", "https://a.example/", "#"])
    witnesses = [
        Witness(name, COSIGNERS[number].verifier, draw(url))
        for number, name in enumerate(taken[:count])
    ]
    free, groups = taken[:count], []
    for name in taken[count:]:
        members = draw(st.lists(st.sampled_from(free), unique=True)) if free else []
        if members:
            groups.append(Group(name, draw(st.integers(1, len(members))), tuple(members)))
            free = [each for each in free if each not in members] + [name]
    defined = [each.name for each in (*witnesses, *groups)]
    logs = draw(st.sampled_from([(), (Log(LOG.verifier),), (Log(LOG.verifier, "u"),)]))
    quorum = draw(st.none() | st.sampled_from(defined)) if defined else None
    return TrustPolicy(logs, tuple(witnesses), tuple(groups), quorum)


def counts(policy, name, names):
    """Return whether a witness or group counts, from the top down as in the specification."""
    group = next((group for group in policy.groups if group.name == name), None)
    if group is None:
        return name in names
    return sum(counts(policy, member, names) for member in group.members) >= group.threshold


@given(policies())
def test_a_policy_is_read_back_and_satisfied_by_just_those_that_the_specification_names(policy):
    assert TrustPolicy.parse(policy.format()) == policy
    for names in subsets([witness.name for witness in policy.witnesses]):
        expected = policy.quorum is None or counts(policy, policy.quorum, names)
        assert policy.satisfied_by(names) == expected


@given(
    st.text(max_size=60)
    | st.builds(
        lambda start, end, new: TWO_LEVELS[:start] + new + TWO_LEVELS[end:],
        st.integers(0, len(TWO_LEVELS)),
        st.integers(0, len(TWO_LEVELS)),
        st.text(max_size=4) | st.sampled_from(["quorum none\n", "group g 1 X1\n", "\udc80", "#"]),
    )
)
def test_whatever_text_is_a_policy_or_raises_an_error_of_the_ledger(text):
    try:
        policy = TrustPolicy.parse(text)
    except LedgerError as error:
        str(error).encode()
        return
    assert TrustPolicy.parse(policy.format()) == policy
