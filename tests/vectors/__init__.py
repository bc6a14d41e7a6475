"""Test vectors for programs that read or write Kashi's formats; `make vectors` writes the files.

README.md      the JSON files explained, for implementers in other languages
vector.py      a vector, and the file of a format
plain.py       the formats again, without the two packages: keys, trees, notes, signatures
<format>.py    the vectors of a format, which become <format>.json
readers.py     our readers, as the tests ask them

An expected answer never comes from the reader under test. A good vector says what went into its
bytes; a bad one holds a code as a literal, beside the reason.
"""
