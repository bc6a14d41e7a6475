"""Test vectors for whoever reads or writes Kashi's formats: `make vectors` writes the JSON files.

README.md      what the JSON files say, for implementers in other languages
vector.py      a vector, and the file of a format
plain.py       the formats once more, without the two packages: keys, trees, notes, signatures
<format>.py    the vectors of a format, which become <format>.json
readers.py     what our readers make of a vector, for the tests

An expected answer never comes from the reader that it is for. A good vector says what went into its
bytes; a bad one holds a code as a literal, beside the reason.
"""
