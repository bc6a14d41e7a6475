"""Certificates of a cluster: only its own machines, and only under the names that they have."""

import asyncio
import ssl
import stat

import pytest

from meter.host import cluster
from meter.host.cluster import (
    BadCertificate,
    examined,
    front_context,
    leader_context,
    make_certificate,
)
from meter.host.data_folder import DataFolder
from tests.clusters import HOST, make_machines
from tests.commands import code, elsewhere, good, kashi, told

NOW = 1_800_000_000


@pytest.fixture
def machines(tmp_path):
    """Two machines of one cluster, and one of another that has the same name."""
    found = []
    for name in ("a", "b", "other"):
        folder = DataFolder(tmp_path / name)
        folder.path.mkdir(mode=0o700)
        found.append(folder)
    a, b, other = found
    now = cluster.dt.datetime.now(cluster.dt.UTC).timestamp()
    make_certificate(a, a, HOST, int(now))
    make_certificate(a, b, "localhost", int(now))
    make_certificate(other, other, HOST, int(now))
    return found


async def greet(server: DataFolder, client: ssl.SSLContext, host: str = HOST) -> bytes:
    """Say one word over TLS, and return what the other side has heard of it."""
    heard = asyncio.get_running_loop().create_future()

    async def serve(reader, writer) -> None:
        heard.set_result(await reader.read(5))
        writer.write(b"there")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, HOST, 0, ssl=leader_context(server))
    async with listener:
        place = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            HOST, place, ssl=client, server_hostname=host
        )
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.write(b"hello")
        answer = await reader.read(5)
        writer.close()
    if not answer:  # TLS 1.3 may tell a client only by the end that it was refused
        raise ConnectionResetError
    assert heard.result() == b"hello"
    return answer


async def test_machines_of_one_cluster_know_each_other(machines):
    a, b, _ = machines
    assert await greet(a, front_context(b)) == b"there"
    assert await greet(b, front_context(a), "localhost") == b"there"


async def test_a_leader_under_another_name_or_of_another_cluster_is_refused(machines):
    a, b, other = machines
    with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)ip address mismatch"):
        await greet(b, front_context(a))
    with pytest.raises(ssl.SSLCertVerificationError):
        await greet(other, front_context(a))


async def test_a_front_without_a_certificate_of_the_cluster_is_refused(machines):
    a, _, other = machines
    stranger = front_context(other)
    stranger.load_verify_locations(a.cluster_authority)
    nobody = ssl.create_default_context(cafile=a.cluster_authority)
    for client in (stranger, nobody):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await greet(a, client)


async def test_a_certificate_that_has_run_out_is_refused(machines):
    a, b, _ = machines
    for file in (b.cluster_key, b.cluster_certificate, b.cluster_authority):
        file.unlink()
    make_certificate(a, b, HOST, NOW - 10 * 365 * 86_400)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        await greet(b, front_context(a))


@pytest.mark.parametrize("name", ["cluster.key", "cluster.pem", "cluster-ca.pem"])
def test_files_that_are_missing_or_spoilt_are_named(machines, name):
    a, *_ = machines
    for change in ((a.path / name).write_bytes, lambda _: (a.path / name).unlink()):
        change(b"nonsense")
        with pytest.raises(BadCertificate, match=r"kashi cluster cert"):
            leader_context(a)


def test_the_authority_is_made_once_and_never_anew_where_its_key_is_gone(machines, tmp_path):
    a, b, other = machines
    third = DataFolder(tmp_path / "third")
    third.path.mkdir()
    make_certificate(a, third, "third.example", NOW)
    assert third.cluster_authority.read_bytes() == b.cluster_authority.read_bytes()
    for file in (a.cluster_key, third.cluster_key, a.cluster_authority_key):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not third.cluster_authority_key.exists()
    fourth = DataFolder(tmp_path / "fourth")
    fourth.path.mkdir()
    with pytest.raises(BadCertificate, match=r"cluster-ca\.key is not in"):
        make_certificate(third, fourth, HOST, NOW)
    a.cluster_authority_key.write_bytes(other.cluster_authority_key.read_bytes())
    with pytest.raises(BadCertificate, match=r"is not that of cluster-ca\.pem"):
        make_certificate(a, fourth, HOST, NOW)
    a.cluster_authority_key.write_text("nonsense")
    with pytest.raises(BadCertificate, match="spoilt"):
        make_certificate(a, fourth, HOST, NOW)
    assert list(fourth.path.iterdir()) == []


def test_a_machine_that_never_leads_gets_no_key_that_signs_and_must_hold_none(database, tmp_path):
    one, two, three = make_machines(database, tmp_path, 2, 1)
    assert [each.name for each in two.signing_keys] == ["log.key", "receipt.key"]
    assert three.signing_keys == []
    for each in (two, three):
        names = {file.name for file in each.path.iterdir()}
        assert names >= {"origin", "log.vkey", "cursor.key", "cluster.pem"}
        assert not names & {"cluster-ca.key", "authority.token", "log"}
        assert each.cursor_key.read_bytes() == one.cursor_key.read_bytes()
    serve = ("serve", "--port", 0, "--data")
    with elsewhere(database):
        line = told(kashi(*serve, two.path, "--never-leads"))
        assert code(line) == "keys_here"
        assert "log.key, receipt.key" in line
        one.cluster_key.unlink()
        line = told(kashi(*serve, one.path, "--listen-leader", f"{HOST}:0"))
        assert code(line) == "bad_certificate"
    with elsewhere(""):
        assert code(told(kashi(*serve, three.path, "--never-leads"))) == "no_shared_database"


def test_options_that_contradict_each_other_are_refused(tmp_path):
    data = ("--data", tmp_path / "data")
    both = kashi("serve", *data, "--never-leads", "--listen-leader", "a:1")
    assert (both.exit_code, "an instance that may lead" in both.stderr) == (2, True)
    place = kashi("serve", *data, "--listen-leader", "nowhere")
    assert (place.exit_code, "is not HOST:PORT" in place.stderr) == (2, True)
    words = kashi("cluster", "cert", *data, HOST, "--may-lead")
    assert (words.exit_code, "--out" in words.stderr) == (2, True)


def test_a_folder_that_is_there_is_not_written_over(database, tmp_path):
    one, *_ = make_machines(database, tmp_path, 1, 0)
    out = tmp_path / "m1"
    words = ("cluster", "cert", "--data", one.path, HOST, "--out", out)
    good(kashi(*words))
    assert "File exists" in told(kashi(*words))
    assert "File exists" in told(kashi("cluster", "cert", "--data", one.path, HOST))


def test_a_machine_s_own_certificate_is_examined_without_another(machines, tmp_path):
    a, b, other = machines
    now = int(cluster.dt.datetime.now(cluster.dt.UTC).timestamp())
    found = [examined(each) for each in (a, b)]
    assert [each.host for each in found] == [HOST, "localhost"]
    assert all(abs(each.ends - now - cluster.MACHINE_DAYS * 86_400) < 60 for each in found)
    b.cluster_authority.write_bytes(other.cluster_authority.read_bytes())
    old = DataFolder(tmp_path / "old")
    old.path.mkdir(mode=0o700)
    make_certificate(old, old, HOST, now - (cluster.MACHINE_DAYS + 1) * 86_400)
    for refused, why in ((b, "certificate signature failure"), (old, "certificate has expired")):
        with pytest.raises(BadCertificate, match=why):
            examined(refused)
    a.cluster_key.write_bytes(other.cluster_key.read_bytes())
    with pytest.raises(BadCertificate, match="missing or spoilt"):
        examined(a)
    # An authority that ends before its machine ends the certificate too.
    late = DataFolder(tmp_path / "late")
    late.path.mkdir(mode=0o700)
    began = now - (cluster.AUTHORITY_DAYS - 5) * 86_400
    make_certificate(late, late, HOST, began)
    for file in (late.cluster_key, late.cluster_certificate):
        file.unlink()
    make_certificate(late, late, HOST, now)
    assert abs(examined(late).ends - now - 5 * 86_400) < 60
