"""The bank's payments over HTTP: the list, its results as a file, and the public notice."""

import pytest

from meter.console.words import words
from meter.http.forms import parse_files
from meter.values.problems import Problem
from tests.books import ALPHA
from tests.claiming import NOTICE_URL, again, claiming, official
from tests.meter.test_claim_pages import NEW, act, enter, fields_of, filled, text_of
from tests.people import sign_in

W = words("en")
BOUNDARY = "----kashi"


def upload(fields, data, name="file"):
    """Return the body of a form with a file, as browsers send it."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="b.csv"\r\n'
    return b"".join([*parts, head.encode(), b"Content-Type: text/csv\r\n\r\n", data, b"\r\n"]) + (
        f"--{BOUNDARY}--\r\n".encode()
    )


async def send_file(visitor, service, data, path="/en/payments"):
    headers = visitor.headers | {
        "Origin": "null",
        "Sec_Fetch_Site": "same-origin",
        "Content_Type": f"multipart/form-data; boundary={BOUNDARY}",
    }
    body = upload({"session": visitor.token, "step": "check"}, data)
    return await service.send("POST", path, body, **headers)


@pytest.fixture
async def ordered(database, tmp_path):
    """A city with an ordered claim, and the two officials who reviewed it."""
    async with claiming(database, tmp_path) as both:
        service = both.service
        firm = await sign_in(service, "enterprise", ALPHA)
        wang, li = await official(both, "wang"), await official(both, "li")
        await enter(service, firm)
        assert (await act(wang, service, "check")).status == 303
        assert (await act(li, service, "approve", amount="400000.00")).status == 303
        assert (await act(wang, service, "notice", url=NOTICE_URL)).status == 303
        yield both, wang, li


async def test_the_public_sees_what_is_under_notice_and_not_whose(ordered):
    service = ordered[0].service
    page = await service.get("/en/notices", Authorization="")
    assert page.status == 200
    shown = text_of(page)
    assert "20 May 2025 – 26 May 2025" in shown
    assert f'href="{NOTICE_URL}"' in page.body.decode()
    told = (await service.get("/v1/notices", Authorization="")).body.decode()
    for secret in (ALPHA, "400,000", "400000", "C1", ">A<", '"A"'):
        assert secret not in page.body.decode()
        assert secret not in told
    service.clock.advance(7 * 86_400)
    after = await service.get("/en/notices", Authorization="")
    assert W["no_notices"].format(date="27 May 2025") in text_of(after)


async def test_the_bank_s_results_are_checked_whole_and_booked_once(ordered):
    both, wang, li = ordered
    service = both.service
    service.clock.advance(8 * 86_400)
    wang, li = [await again(service, each.id) for each in (wang, li)]
    assert (await act(wang, service, "order")).status == 303
    listed = await service.get("/en/payments.csv", **li.headers)
    assert listed.headers["Content-Type"] == "text/csv; charset=utf-8"
    text = listed.body.decode("utf-8-sig")
    head, line = text.splitlines()
    assert line.startswith(f"C1,{ALPHA},深圳某某科技有限公司,400000.00,")
    size = len(await service.entries())
    paid = line.removesuffix(",,,,") + ",paid,city-7,2025/5/28,"
    bad = await send_file(
        li, service, f"{head}\r\n{paid}\r\nC9,x,,1.00,1,paid,city-8,2025-05-28,\r\n".encode()
    )
    assert bad.status == 422
    assert f"{W['bank_line']} 3: no claim C9 unknown_claim" in text_of(bad)
    assert len(await service.entries()) == size
    later = await send_file(li, service, f"{head}\r\nC1,x,<b>,no money,,,,,\r\n".encode())
    assert (later.status, W["bank_nothing"] in text_of(later)) == (200, True)
    wrong = await send_file(li, service, b"x\r\n")
    assert (wrong.status, "malformed" in text_of(wrong)) == (400, True)
    data = f"{head}\r\n{paid}\r\n".encode("gb18030")
    asked = await send_file(li, service, data)
    assert asked.status == 200, text_of(asked)
    assert W["bank_will_pay"] in text_of(asked)
    textarea = asked.body.decode().partition('<textarea name="file" hidden>')[2]
    content = textarea.partition("</textarea>")[0].removeprefix("\n").replace("&#39;", "'")
    seal = fields_of(asked)["seal"]
    assert len(await service.entries()) == size
    fields = {"file": content, "seal": seal, "step": "book"}
    done = await li.send(service, "/en/payments", **fields)
    assert W["bank_done"] in text_of(done), text_of(done)
    assert len(await service.entries()) == size + 1
    assert (await service.get("/v1/claims/C1")).json["booked"] == [
        {"bank_reference": "city-7", "paid_on": "2025-05-28"}
    ]
    # The form twice, the file again, and by another person: nothing is booked.
    stale = await li.send(service, "/en/payments", **fields)
    assert (stale.status, W["bank_known"] in text_of(stale)) == (409, True)
    repeated = await send_file(wang, service, data)
    assert W["bank_known"] in text_of(repeated)
    booked = await wang.send(
        service, "/en/payments", file=content, seal=fields_of(repeated)["seal"], step="book"
    )
    assert booked.status == 200
    assert len(await service.entries()) == size + 1
    back = f"{head}\r\n{paid.replace(',paid,', ',returned,')}closed\r\n".encode()
    asked = await send_file(li, service, back)
    assert W["bank_will_return"] in text_of(asked)
    content = back.decode()
    for _ in range(2):
        done = await li.send(
            service, "/en/payments", file=content, seal=fields_of(asked)["seal"], step="book"
        )
        assert f'href="/en/proposals/{size + 1}"' in done.body.decode()
    assert len(await service.entries()) == size + 2


async def test_a_reference_that_paid_another_claim_is_shown_before_it_is_booked(ordered):
    both, wang, li = ordered
    service = both.service
    service.clock.advance(8 * 86_400)
    wang = await again(service, wang.id)
    assert (await act(wang, service, "order")).status == 303
    paid = {"bank_reference": "city-7", "paid_on": "2025-05-28"}
    assert (await both.post("wang", "/v1/claims/C1/payment", paid, "pay-C1")).status == 201
    firm = await sign_in(service, "enterprise", ALPHA)
    base = fields_of(await service.get(f"{NEW}?item=A&year=2025", **firm.headers))
    other = {"invoice-0-number": "9" * 20, "payment-0-reference": "P-9"}
    asked = await firm.send(service, NEW, **filled(base, id="C2", **other), step="continue")
    entered = await firm.send(service, NEW, **fields_of(asked), step="submit")
    assert entered.status == 303, text_of(entered)
    li = await again(service, li.id)
    assert (await act(wang, service, "check", "C2")).status == 303
    assert (await act(li, service, "approve", "C2", amount="100000.00")).status == 303
    assert (await act(wang, service, "notice", "C2", url=NOTICE_URL)).status == 303
    service.clock.advance(8 * 86_400)
    wang = await again(service, wang.id)
    assert (await act(wang, service, "order", "C2")).status == 303
    text = (await service.get("/en/payments.csv", **wang.headers)).body.decode("utf-8-sig")
    for reference, is_told in (("city-8", False), ("city-7", True)):
        data = text.replace(",,,,", f",paid,{reference},2025-06-05,")
        asked = await send_file(wang, service, data.encode())
        assert asked.status == 200, text_of(asked)
        assert (f"{W['bank_other']} C1" in text_of(asked)) == is_told
    done = await wang.send(
        service, "/en/payments", file=data, seal=fields_of(asked)["seal"], step="book"
    )
    assert W["bank_done"] in text_of(done), text_of(done)
    listed = (await service.get("/v1/claims?bank_reference=city-7")).json["claims"]
    assert [each["id"] for each in listed] == ["C1", "C2"]


async def test_an_auditor_reads_the_list_and_uploads_nothing(ordered):
    both, *_ = ordered
    service = both.service
    auditor = await sign_in(service, "auditor")
    page = await service.get("/en/payments", **auditor.headers)
    assert (page.status, "multipart" in page.body.decode()) == (200, False)
    assert (await auditor.send(service, "/en/payments", step="check")).code == "forbidden"
    assert (await send_file(auditor, service, b"x")).code == "forbidden"


async def test_a_form_that_takes_no_file_is_sent_none(ordered):
    both, wang, _ = ordered
    for path in ("/en/sign-out", "/en/claims/C1/order"):
        refused = await send_file(wang, both.service, b"x", path)
        assert (refused.status, refused.code) == (400, "malformed"), path


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--x--\r\n",
        b"--x\r\n\r\nno name\r\n--x--\r\n",
        upload({"a": "1"}, b"\xff\xff").replace(BOUNDARY.encode(), b"x"),
        upload({"a": "1"}, b"2", name="a").replace(BOUNDARY.encode(), b"x"),
        upload({"a": "1"}, b"2").replace(BOUNDARY.encode(), b"x")[:-8],
    ],
)
def test_a_form_with_files_that_is_not_encoded_so_is_malformed(body):
    with pytest.raises(Problem) as refused:
        parse_files("multipart/form-data; boundary=x", body)
    assert refused.value.code == "malformed"


def test_a_file_s_bytes_come_as_they_were_sent():
    text = "\ufeffa,甲\r\nb\nc\r\n\r\n--kash\r\n"
    body = upload({"token": "t"}, text.encode())
    found = parse_files(f"multipart/form-data; boundary={BOUNDARY}", body)
    assert found == {"token": "t", "file": text}
