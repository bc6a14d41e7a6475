"""Codes of organisations by GB 32100-2015."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.values.uscc import ALPHABET, check_character, is_valid
from tests.books import properties, uscc_of

# GB 32100-2015, table of weights: 3^(i-1) mod 31
WEIGHTS = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28]

# Published codes of companies.
REAL = [
    "91440300708461136T",
    "914403001922038216",
    "91110000802100433B",
    "91330100716105852F",
    "91330100799655058B",
    "91350100M000100Y43",
    "91440300MA5EEJUR92",
]

bodies = st.builds(
    lambda head, division, rest: head + division + rest,
    st.text(ALPHABET, min_size=2, max_size=2),
    st.text("0123456789", min_size=6, max_size=6),
    st.text(ALPHABET, min_size=9, max_size=9),
)


@pytest.mark.parametrize("code", REAL)
def test_codes_of_companies_are_valid(code):
    assert is_valid(code)
    assert check_character(code[:17]) == code[17]


def test_letters_are_legal_in_positions_1_and_2():
    for head in ("A1", "N2", "1Y", "NA", "Y1"):
        body = f"{head}440300MA5EEJUR9"
        assert is_valid(body + check_character(body))


@pytest.mark.parametrize(
    "code",
    [
        "",
        "91440300708461136",
        "91440300708461136TT",
        "91440300708461136t",
        "91440300ma5eejur92",
        "914403007084611360",
        "91440300708461136Z",
        "9144030070846113 T",
        " 91440300708461136T",
        "91440300708461136T\n",
        "９1440300708461136T",
        "91440300708461136\u0422",
        "9144O300708461136T",
    ],
)
def test_other_texts_are_not(code):
    assert not is_valid(code)


@pytest.mark.parametrize("character", "IOSVZ")
def test_letters_that_look_like_digits_are_not_in_the_alphabet(character):
    assert len(ALPHABET) == 31
    assert character not in ALPHABET
    assert not is_valid(f"9144030070846113{character}T")


def test_an_administrative_division_has_digits_only():
    for position in range(2, 8):
        body = list("91440300708461136")
        body[position] = "A"
        assert not is_valid("".join(body) + check_character("".join(body)))


@properties
@given(bodies)
def test_the_check_character_is_the_one_of_the_standards_formula(body):
    total = sum(ALPHABET.index(each) * weight for each, weight in zip(body, WEIGHTS, strict=True))
    # The standard: C18 = 31 - MOD(total, 31), and 31 becomes 0.
    value = 31 - total % 31
    assert check_character(body) == ALPHABET[0 if value == 31 else value]
    assert is_valid(body + check_character(body))


@properties
@given(bodies, st.integers(0, 17), st.sampled_from(ALPHABET))
def test_any_one_wrong_character_is_found(body, position, character):
    code = body + check_character(body)
    changed = code[:position] + character + code[position + 1 :]
    assert is_valid(changed) == (changed == code)


@properties
@given(bodies, st.integers(8, 15))
def test_two_characters_in_each_others_place_are_found(body, position):
    code = body + check_character(body)
    one, two = code[position : position + 2]
    swapped = code[:position] + two + one + code[position + 2 :]
    assert is_valid(swapped) == (one == two)


def test_the_numbered_codes_of_the_tests_are_valid_and_differ():
    codes = {uscc_of(number) for number in range(200)}
    assert len(codes) == 200
    assert all(map(is_valid, codes))
