"""The folder of a witness: made once, used by one process, and not opened when it is damaged."""

import pytest

from ledger.cosign import Cosigner
from ledger.errors import BadFolder, BadKey, BadNote, MissingFile
from ledger.note import Signer
from ledger.witnessing import monitoring_path
from meter.witness.witness import initialise, trust
from tests.witnesses import LOG, NAME, NEW, OTHER, asked, note, opened, size_in, verifier_of


def test_init_makes_a_key_that_only_its_owner_reads_and_touches_no_full_folder(tmp_path):
    made = tmp_path / "w"
    vkey = initialise(made, NAME)
    assert (made / "witness.key").stat().st_mode & 0o777 == 0o600
    key = Cosigner.parse((made / "witness.key").read_text().strip())
    assert key.verifier.format() == vkey == (made / "witness.vkey").read_text().strip()
    before = {file.name: file.read_bytes() for file in made.iterdir()}
    with pytest.raises(BadFolder):
        initialise(made, NAME)
    assert {file.name: file.read_bytes() for file in made.iterdir()} == before
    with pytest.raises(BadKey):
        initialise(tmp_path / "x", "no name")
    assert not (tmp_path / "x").exists()


def test_a_key_of_a_log_is_trusted_once(folder):
    for vkey in (LOG.verifier.format(), verifier_of(folder).format()):
        with pytest.raises(BadKey):
            trust(folder, vkey)
    logs = folder / "logs"
    logs.write_text(logs.read_text().rstrip("\n"))
    for added in (OTHER, NEW):
        trust(folder, added.verifier.format())
    vkeys = [each.verifier.format() for each in (LOG, OTHER, NEW)]
    assert logs.read_text().splitlines() == vkeys
    with opened(folder):
        pass
    logs.write_text(f"{logs.read_text()}{NEW.verifier.format()}")
    with pytest.raises(BadKey):
        opened(folder)


def test_two_keys_of_a_log_with_one_id_are_refused(folder):
    # Found by trying seeds; their ids are the same four bytes.
    first, second = (
        Signer.from_seed(LOG.name, seed.to_bytes(32)).verifier for seed in (27_933, 67_667)
    )
    assert first.key_id == second.key_id
    trust(folder, first.format())
    with pytest.raises(BadKey, match=first.key_id.hex()):
        trust(folder, second.format())


def test_one_process_has_the_folder(folder):
    with opened(folder), pytest.raises(BadFolder):
        opened(folder)
    with opened(folder):
        pass


def test_a_folder_that_lost_or_changed_what_was_signed_is_not_opened(folder):
    with opened(folder) as witness:
        witness.add_checkpoint(asked(0, 9))
    checkpoint = folder / monitoring_path(LOG.name)
    good = checkpoint.read_bytes()
    for bad in (
        good[:-1],
        b"",
        note(9),
        good.replace(b"\n9\n", b"\n8\n"),
        note(5) + good.splitlines(keepends=True)[-1],
    ):
        checkpoint.write_bytes(bad)
        with pytest.raises(BadNote):
            opened(folder)
    checkpoint.write_bytes(good)
    assert size_in(folder) == 9
    checkpoint.parent.rename(folder / "elsewhere")
    with pytest.raises(MissingFile, match="lost"):
        opened(folder)
