"""The pages of alerts: each person's own targets, tests, the log, and what is sent again."""

import re

import pytest

from tests.books import ALPHA, BETA, record
from tests.people import sign_in
from tests.services import HOUR, Clock, ask, serving, until


@pytest.fixture
async def service(database, tmp_path, receiver):
    files = {
        "alerts.toml": f'ca_file = "{receiver.ca}"\n[webhooks]\nhosts = ["127.0.0.1"]\n',
    }
    clock = Clock("2025-03-01T12:00:00+08:00")
    async with serving(database, tmp_path, clock=clock, files=files) as service:
        await service.open_books(issued="180.00")
        yield service


async def shown(service, person, path="/zh/alerts", status=200):
    answer = await service.get(path, **person.headers)
    assert answer.status == status, answer.body
    return answer.body.decode()


def fields(html):
    """Return the hidden fields of the first form that has a key."""
    return dict(re.findall(r'type="hidden" name="(key|alert)" value="([^"]*)"', html))


async def add(service, person, url, **chosen):
    """Fill in the form of a new target; return the path of its page."""
    html = await shown(service, person)
    filled = {"means": "webhook", "address": url, "key": fields(html)["key"]}
    answer = await person.send(
        service, "/zh/alerts", **filled, **(chosen or {"kind_used_80": "yes"})
    )
    assert answer.status == 303, answer.body
    again = await person.send(
        service, "/zh/alerts", **filled, **(chosen or {"kind_used_80": "yes"})
    )
    assert again.status == 303
    html = await shown(service, person)
    (path,) = re.findall(rf'href="(/zh/alerts\?target=tgt_\w+)">{re.escape(url)}<', html)
    return path


async def act_of(person, service, path, **filled):
    """Send a form of a target's page."""
    return await person.send(service, "/zh/alerts", target=path.partition("=")[2], **filled)


async def settled(service, count):
    async def are_there():
        return len(await ask(service.dsn, "SELECT FROM meter.alert_attempt")) >= count

    await until(are_there)


async def test_a_person_adds_a_target_and_sees_what_was_sent_to_it(service, receiver):
    firm = await sign_in(service, "enterprise", ALPHA)
    html = await shown(service, firm)
    assert "还没有地址" in html
    assert "供应方一天没有上报" not in html  # of other roles
    assert 'value="mail"' not in html  # the operator has named no server
    path = await add(service, firm, receiver.url())
    assert "还没有发送过" in await shown(service, firm, path)
    await service.usage([record("r1", "A", *HOUR, 64_000)])
    service.clock.advance(1)
    await settled(service, 1)
    html = await shown(service, firm, path)
    assert "券已用 80%" in html
    assert "已送达" in html
    assert "· 200 ·" in html
    (key, alert) = re.search(
        r'name="key" value="([^"]*)"><input type="hidden" name="alert" value="([^"]*)"', html
    ).groups()
    for _ in range(2):  # a double click, the second one after the first has had its effect
        again = await act_of(firm, service, path, act="again", alert=alert, key=key)
        assert again.status == 303
        await settled(service, 2)
    assert await ask(service.dsn, "SELECT FROM meter.alert WHERE due_at IS NOT NULL") == []
    assert len(await ask(service.dsn, "SELECT FROM meter.alert_attempt")) == 2
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1


async def test_a_test_is_sent_once_for_a_double_click(service, receiver):
    provider = await sign_in(service, "provider", "pcl")
    path = await add(service, provider, receiver.url(), kind_silent="yes", kind_gap="yes")
    key = fields(await shown(service, provider, path))["key"]
    for _ in range(2):
        assert (await act_of(provider, service, path, act="test", key=key)).status == 303
    await settled(service, 1)
    await act_of(provider, service, path, act="test", key="another")
    await settled(service, 2)
    assert len(await ask(service.dsn, "SELECT FROM meter.alert")) == 2
    assert "测试" in await shown(service, provider, path)


async def test_a_target_is_changed_and_turned_off_and_on(service, receiver):
    auditor = await sign_in(service, "auditor")
    path = await add(service, auditor, receiver.url())
    changed = await act_of(auditor, service, path, act="change", kind_review="yes")
    assert changed.status == 303
    html = await shown(service, auditor, path)
    assert re.findall(r'name="kind_(\w+)" value="yes" checked', html) == ["review"]
    assert (await act_of(auditor, service, path, act="off")).status == 303
    assert "手动停用" in await shown(service, auditor)
    off = await act_of(auditor, service, path, act="test", key="k")
    assert off.status == 400
    assert "请先启用该地址" in off.body.decode()
    assert (await act_of(auditor, service, path, act="on")).status == 303
    assert "启用中" in await shown(service, auditor, path)
    assert (await act_of(auditor, service, path, act="burn")).status == 400


@pytest.mark.parametrize(
    ("filled", "says"),
    [
        ({"address": "http://a.example/", "kind_gap": "yes"}, "须以 https:// 和主机名开头"),
        ({"address": "https://10.0.0.1/", "kind_gap": "yes"}, "此地址不在公网上"),
        ({"address": "https://a.example/"}, "至少选择一项"),
        ({"address": "https://a.example/", "kind_silent": "yes"}, "至少选择一项"),
        ({"address": "a@b.test", "means": "mail", "kind_gap": "yes"}, "服务没有配置电子邮件"),
        ({"address": "https://a.example/", "means": "pigeon", "kind_gap": "yes"}, "没有写明方式"),
    ],
)
async def test_a_form_that_is_not_taken_keeps_what_was_filled_in(service, filled, says):
    firm = await sign_in(service, "enterprise", ALPHA)
    answer = await firm.send(service, "/zh/alerts", **{"means": "webhook", "key": "k"} | filled)
    html = answer.body.decode()
    assert answer.status == 400
    assert says in html
    assert f'value="{filled["address"]}"' in html
    assert await ask(service.dsn, "SELECT FROM meter.alert_target") == []


async def test_nobody_sees_or_changes_the_target_of_another(service, receiver):
    own = await sign_in(service, "enterprise", ALPHA)
    others = [
        await sign_in(service, "enterprise", ALPHA),
        await sign_in(service, "enterprise", BETA),
        await sign_in(service, "auditor"),
        await sign_in(service, "authority"),
    ]
    path = await add(service, own, receiver.url())
    for other in others:
        assert receiver.url() not in await shown(service, other)
        missing = await shown(service, other, "/zh/alerts?target=tgt_none", 404)
        assert await shown(service, other, path, 404) == missing
        for act in ("change", "test", "off", "on", "again"):
            answer = await act_of(other, service, path, act=act, kind_gap="yes", key="k")
            assert answer.status == 404
    (row,) = await ask(service.dsn, "SELECT off_at, kinds FROM meter.alert_target")
    assert (row["off_at"], row["kinds"]) == (None, ["used_80"])


async def test_an_address_stays_text(service):
    firm = await sign_in(service, "enterprise", ALPHA)
    url = "https://a.example/<script>alert(1)</script>"
    await firm.send(service, "/zh/alerts", means="webhook", address=url, key="k", kind_gap="yes")
    html = await shown(service, firm)
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html


async def test_nothing_is_told_to_a_target_that_was_turned_off(service, receiver):
    firm = await sign_in(service, "enterprise", ALPHA)
    path = await add(service, firm, receiver.url())
    await act_of(firm, service, path, act="off")
    await service.usage([record("r1", "A", *HOUR, 64_000)])
    assert receiver.got == []
    assert await ask(service.dsn, "SELECT FROM meter.alert") == []
