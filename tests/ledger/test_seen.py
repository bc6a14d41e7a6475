import pytest

from ledger.errors import CannotCheck
from ledger.note import Checkpoint
from ledger.seen import Seen
from tests.ledger.example import LOG_VKEY, TEXT

SEEN = Seen(Checkpoint.parse(TEXT), LOG_VKEY)
FILE = (
    b'{"origin":"example.com/log","root":"OF2jDzkXKCyJOd/4UZV+UZqxhGsTUaFMCts7EWMnQqo=","size":3,'
    b'"vkey":"example.com/log+d455c521+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"}\n'
)


def test_the_worked_example_is_written_and_read_back():
    assert SEEN.format() == FILE
    assert Seen.parse(FILE) == SEEN


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"origin":' + b"[" * 100_000,
        b"<html>sign in</html>",
        FILE[:-3],
        FILE.replace(b'"size":3', b'"size":"3"'),
        FILE.replace(b'"size":3', b'"size":-1'),
        FILE.replace(b'"size":3,', b""),
        FILE.replace(b'"size":3', b'"size":3,"note":""'),
        FILE.replace(b"example.com/log", b"", 1),
        FILE.replace(b"OF2jDzkX", b"", 1),
        FILE.replace(b"OF2jDzkX", b"OF2j DzkX", 1),
        FILE.replace(b"OF2jDzkX", b"OF2j!DzkX", 1),
    ],
)
def test_any_other_file_is_no_state_of_a_verification(data):
    with pytest.raises(CannotCheck, match=r"this is not the state of a verification: ."):
        Seen.parse(data)
