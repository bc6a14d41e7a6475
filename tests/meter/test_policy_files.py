"""Any policy file: it is refused with its section, or it gives a ledger that verifies."""

import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from meter.values.policy import Policy, shipped_text
from meter.values.policy_file import PolicyFile
from meter.values.problems import Problem
from tests.books import (
    ALPHA,
    BETA,
    attempt,
    policy_text,
    properties,
    purchase,
    record,
    uscc_of,
    void,
)
from tests.fuzz.ledgers import audit
from tests.writer import Writer

SOURCE = {"article": "(1)", "standing": "judgement"}
APPLICANTS = ("enterprise", "university", "institute", "other")
USES = ("training", "inference", "research", "application", "other")
SECTIONS = {field.removesuffix("es") for field in PolicyFile.__struct_fields__}
# Refusals at activation that are not about one section: of the state of the ledger.
OF_THE_LEDGER = {"unknown_programme", "wrong_meter"}

money = st.sampled_from(["0.00", "0.01", "3.00", "99.99", "100.00", "10000000.00", "1"])
basis_points = st.sampled_from([0, 1, 3_333, 5_000, 10_000, 10_001])
names = st.sampled_from(["standard", "startup", "new", "other"])


def section(required: dict[str, Any], optional: dict[str, Any] | None = None) -> Any:
    figures = st.fixed_dictionaries(required, optional=optional or {})
    return figures.map(lambda found: found | SOURCE)


def class_of(name: str, **figures: Any) -> dict[str, Any]:
    return {"name": name, "title": "类", "title_en": "Class"} | figures | SOURCE


ratios = st.sampled_from([0, 1, 3_333, 5_000, 10_000])
metered = st.builds(
    lambda standard, startup: [
        class_of("standard", ratio=standard, when="standard"),
        class_of("startup", ratio=startup, when="startup"),
    ],
    ratios,
    ratios,
)
small = st.sampled_from(["0.00", "0.01", "3.00", "100.00", "10000000.00"])
# Files of which most are taken.
good = st.fixed_dictionaries(
    {
        "programme": st.just("drawn"),
        "version": st.just("1"),
        "title": st.just("奖励"),
        "title_en": st.just("Drawn"),
        "responsible": st.just(["科技创新局"]),
        "applicants": st.lists(st.sampled_from(APPLICANTS), min_size=1, unique=True),
        "group": st.just("drawn"),
        "meter": st.just("device-time"),
        "validity": section(
            {
                "from": st.sampled_from(["2024-12-18", "2025-01-01", "2025-02-28"]),
                "until": st.sampled_from(["2025-03-02", "2026-12-18"]),
            }
        ),
        "class": metered,
        "startup": section({"months": st.sampled_from([0, 12, 120])}),
        "enlistment": section({"required": st.just(True)}),
    },
    optional={
        "transition": section({"running": st.just("keep")}),
        "cap": section({"per": st.just("applicant-year"), "amount": small}),
        "pool": section({"amount": small}) | section({"shared_with": st.just("owner")}),
        "combined_support": section(
            {"ratio": st.fixed_dictionaries({"standard": ratios, "startup": ratios})}
        ),
        "threshold": section({"amount": st.sampled_from(["0.00", "0.01", "1000000.00"])}),
        "use": section({"eligible": st.lists(st.sampled_from(USES), unique=True)}),
        "lateness": section({"days": st.sampled_from([0, 35, 3_660])}),
        "rounding": section({"mode": st.just("fen")}),
        "allocation": section({"mode": st.just("ordered")}),
    },
)
# What changes a file into one that often is not taken, or another kind of programme.
wild = {
    "meter": st.sampled_from(["purchase", "award", "money"]),
    "applicants": st.just(["enterprise", "enterprise"]),
    "validity": section(
        {"from": st.just("2025-01-01"), "until": st.sampled_from(["2025", "2029-01-02"])}
    ),
    "class": st.lists(
        section(
            {"name": names, "title": st.just("类"), "title_en": st.just("Class")},
            {
                "ratio": basis_points,
                "fixed": money,
                "cap": money,
                "when": st.sampled_from(["standard", "startup"]),
            },
        ),
        max_size=3,
    ),
    "transition": section(
        {"running": st.sampled_from(["keep", "take"])}, {"effective": st.just("2026-01-01")}
    ),
    "cap": section(
        {"per": st.sampled_from(["applicant-year", "project", "applicant"])},
        {"amount": money, "once": st.booleans()},
    ),
    "pool": section(
        {}, {"amount": money, "shared_with": st.sampled_from(["owner", "nobody", "drawn"])}
    ),
    "combined_support": section({"ratio": st.dictionaries(names, basis_points, max_size=2)}),
    "threshold": section({"amount": money}),
    "startup": section({"months": st.sampled_from([-1, 121])}),
    "use": section({"eligible": st.lists(st.sampled_from([*USES, "mining"]), max_size=2)}),
    "lateness": section({"days": st.sampled_from([-1, 3_661])}),
    "age": section({"from": st.sampled_from([0, 6]), "until": st.sampled_from([6, 48])}),
    "rounding": section(
        {"mode": st.sampled_from(["fen", "yuan-per-step"])},
        {"prorate": st.sampled_from(["none", "days"])},
    ),
    "allocation": section({"mode": st.sampled_from(["ordered", "proportional"])}),
    "claims": section({}, {"months": st.sampled_from([0, 6])}),
    "enlistment": section({"required": st.booleans()}),
}
changes = st.lists(st.sampled_from(sorted(wild)), max_size=2, unique=True).flatmap(
    lambda sections: st.fixed_dictionaries({name: wild[name] for name in sections})
)
policies = st.builds(lambda file, changed: file | changed, good, changes)


def as_toml(fields: dict[str, Any]) -> str:
    """Write a policy's fields as TOML."""
    head, tables = [], []
    for name, value in fields.items():
        if isinstance(value, dict):
            tables += [f"[{name}]", *map(line, value.items())]
        elif name == "class":
            for each in value:
                tables += ["[[class]]", *map(line, each.items())]
        else:
            head.append(line((name, value)))
    return "\n".join(head + tables) + "\n"


def line(item: tuple[str, Any]) -> str:
    name, value = item
    if isinstance(value, dict):
        return f"{name} = {{ {', '.join(map(line, value.items()))} }}"
    return f"{name} = {json.dumps(value, ensure_ascii=False)}"


def used(text: str, programme: str = "drawn") -> Writer:
    """Return a ledger in which a policy was put to use, as far as its rules let it."""
    writer = Writer()
    writer.activate(policy_text(programme="owner", pool="100.00", threshold="0.00"))
    writer.activate(text)
    writer.provider()
    writer.key()
    sells = writer.state.active[programme].meter == "purchase"
    if sells:
        writer.vendor("szdex", uscc_of(71), programme)
    writer.enterprise(founded_on="2025-01-01")
    writer.enterprise(BETA, applicant="university")
    writer.enterprise(uscc_of(3), applicant="other")
    start, end = "2025-02-28T23:00:00+08:00", "2025-03-01T02:00:00+08:00"
    for number, uscc in enumerate((ALPHA, BETA, uscc_of(3))):
        terms = {"programme": programme, "enterprise": uscc}
        use = ("training", "research")[number % 2]
        with suppress(Problem):
            if sells:
                terms |= {"provider": "szdex", "prices": {}, "max_devices": {}}
            writer.contract(f"C{number}", use=use, signed_on="2025-02-01", **terms)
            writer.fund_contract(f"C{number}", "10.00")
        for amount in ("100.00", "2.00", "0.01"):
            with suppress(Problem):
                writer.issue(2025, amount, uscc, programme=programme)
        writer.post([record(f"r{number}", f"C{number}", start, end, 8_000)])
        if sells:
            dates = {"service_from": "2025-02-27", "service_until": "2025-03-06"}
            bought = [purchase(f"s{number}", f"C{number}", "70.03", "2025-02-28", **dates)]
            writer.sell(*bought, purchase(f"p{number}", f"C{number}", "5.00", "2025-03-01"))
        with suppress(Problem):
            writer.withdraw(2025, "1.00", uscc, programme=programme)
    writer.post([record("late", "C0", "2024-12-31T20:00:00+08:00", end, 1)], [void("r0")])
    return writer


@settings(properties, max_examples=300)
@given(fields=policies)
def test_any_policy_file_gives_a_ledger_that_verifies_or_is_refused_with_its_section(fields):
    text = as_toml(fields)
    found = attempt(lambda: Policy.parse(text))
    if isinstance(found, Problem):
        assert found.code == "bad_policy"
        assert found.facts["section"] in SECTIONS
        return
    writer = attempt(lambda: used(text))
    if isinstance(writer, Problem):
        assert writer.code in OF_THE_LEDGER or writer.facts["section"] in SECTIONS
        return
    audit(writer)


def test_a_drawn_file_of_purchases_can_be_put_to_use():
    text = shipped_text("model-coupon", "2024-12").replace('"model-coupon"', '"drawn"')
    writer = used(text.replace('"application"', '"training"'))
    assert {entry.kind for entry in writer.entries} >= {"contract", "issue", "purchase"}
    audit(writer)


def test_a_drawn_file_can_be_put_to_use():
    writer = used(policy_text(programme="drawn", threshold="0.00"))
    assert {entry.kind for entry in writer.entries} >= {"contract", "issue", "usage", "withdrawal"}
    audit(writer)
