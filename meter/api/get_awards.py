"""GET: awards and projects, from what is registered in one snapshot."""

from typing import Final

from msgspec import UNSET, UnsetType

from meter.api.cursor import PageQuery, page_fields, place
from meter.api.get_enterprise import page_by_entry
from meter.api.one_size import BEGIN, one_size
from meter.api.responses import (
    AwardAmount,
    AwardPage,
    AwardView,
    ProjectPage,
    ProjectView,
    funds_view,
)
from meter.api.routes import Ask, Route
from meter.rules.commands import ProgrammeName
from meter.rules.state import Award, Project
from meter.tables.registry import Registered
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.strict import Uscc
from meter.values.units import format_money


class AwardsQuery(PageQuery, frozen=True):
    """A page of awards: of one programme, or of one enterprise."""

    programme: ProgrammeName | UnsetType = UNSET
    enterprise: Uscc | UnsetType = UNSET


async def get_awards(ask: Ask) -> AwardPage:
    """All awards, or those that filters find."""
    query: AwardsQuery = ask.query
    return await _award_page(ask, query.enterprise, query.programme)


async def get_enterprise_awards(ask: Ask) -> AwardPage:
    """An enterprise's awards."""
    return await _award_page(ask, Uscc(ask.path("uscc")), UNSET)


async def _award_page(
    ask: Ask, enterprise: Uscc | UnsetType, programme: str | UnsetType
) -> AwardPage:
    after, size = place(ask, (-1, BEGIN))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        size = await one_size(connection, head, size, ("kind:award", "kind:award_change"))
    if enterprise is not UNSET and known.enterprise(enterprise) is None:
        raise Problem("unknown_enterprise", f"no enterprise {enterprise}")
    found = [
        each
        for each in known.awards()
        if enterprise in (UNSET, each.made.enterprise) and programme in (UNSET, each.made.programme)
    ]
    page = page_by_entry(found, (after,), ask.query.limit)
    return AwardPage(
        awards=[_award(known, each) for each in page.items],
        **page_fields(ask, head, page, lambda each: (each.entry, size), (after, size)),
    )


async def get_award(ask: Ask) -> AwardView:
    """An award and how its sum came about."""
    async with ask.reading() as connection:
        _, known = await ask.context.snapshot(connection)
    award = known.award(ask.path("award"))
    if award is None:
        raise Problem("unknown_award", f"no award {ask.path('award')}")
    ask.must_be_theirs(enterprise=award.made.enterprise)
    return _award(known, award)


async def get_projects(ask: Ask) -> ProjectPage:
    """All projects."""
    after = place(ask, (-1,))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
    page = page_by_entry(known.projects(), after, ask.query.limit)
    return ProjectPage(
        projects=[_project(known, each) for each in page.items],
        **page_fields(ask, head, page, lambda each: (each.entry,), after),
    )


async def get_project(ask: Ask) -> ProjectView:
    """A project, other public money for it, and its awards."""
    async with ask.reading() as connection:
        _, known = await ask.context.snapshot(connection)
    project = known.project(ask.path("project"))
    if project is None:
        raise Problem("unknown_project", f"no project {ask.path('project')}")
    return _project(known, project)


def _award(known: Registered, award: Award) -> AwardView:
    made, size = award.made, known.size
    return AwardView(
        id=made.id,
        entry=award.entry,
        programme=made.programme,
        policy=made.policy,
        funding_class=made.class_name,
        enterprise=made.enterprise,
        project=made.project,
        year=made.year,
        base=UNSET if made.base is UNSET else format_money(made.base),
        amount=format_money(award.amount_at(size)),
        document=made.document,
        amounts=[
            AwardAmount(number, format_money(fen)) for number, fen in award.amounts if number < size
        ],
    )


def _project(known: Registered, project: Project) -> ProjectView:
    audited = project.audited(known.size)
    return ProjectView(
        id=project.registered.id,
        entry=project.entry,
        title=project.registered.title,
        audited_investment=UNSET if audited is None else format_money(audited),
        funds=funds_view(project.sums(known.size)),
        awards=[each.made.id for each in project.awards if each.entry < known.size],
    )


ROUTES: Final = [
    Route(
        "GET",
        "/v1/awards",
        get_awards,
        "Awards and their sums",
        AwardPage,
        roles=OFFICIALS,
        query=AwardsQuery,
        codes=("unknown_enterprise", "moved"),
    ),
    Route(
        "GET",
        "/v1/awards/{award}",
        get_award,
        "An award and how its sum came about",
        AwardView,
        roles=(*OFFICIALS, "enterprise"),
        codes=("unknown_award",),
    ),
    Route(
        "GET",
        "/v1/enterprises/{uscc}/awards",
        get_enterprise_awards,
        "An enterprise's awards",
        AwardPage,
        roles=(*OFFICIALS, "enterprise"),
        query=PageQuery,
        codes=("unknown_enterprise", "moved"),
    ),
    Route(
        "GET",
        "/v1/projects",
        get_projects,
        "Projects and other public money for them",
        ProjectPage,
        roles=OFFICIALS,
        query=PageQuery,
    ),
    Route(
        "GET",
        "/v1/projects/{project}",
        get_project,
        "A project and other public money for it",
        ProjectView,
        roles=OFFICIALS,
        codes=("unknown_project",),
    ),
]
