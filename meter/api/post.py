"""POST: the authority's commands; the providers' batches are in `post_usage`.

A command's fields stand in the body, or in the URL where the URL names the thing. Where money
moves, `Idempotency-Key` is required; elsewhere it is welcome. What needs two persons is proposed by
one, with all fields in the proposal's `body`, and confirmed by the other.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
from aiohttp import web
from msgspec import UNSET, structs

from meter.api.responses import MadeEntry
from meter.api.routes import Ask, Handler, Route, as_asked, path_names
from meter.http.bodies import BODIES
from meter.rules.commands import (
    ActivatePolicy,
    AddLogKey,
    AddReceiptKey,
    AllocatePool,
    AmendContract,
    AmendEnterprise,
    AmendProvider,
    ApproveClaim,
    Asked,
    AuditProject,
    ChangeAward,
    CheckClaim,
    CloseMonth,
    CloseYear,
    Command,
    ConfirmMonth,
    ConfirmProposal,
    DismissDispute,
    DisputeRecord,
    EndClaim,
    EndPerson,
    EndProposal,
    EndToken,
    EnlistProvider,
    EnterClaim,
    EnterObjection,
    EnterRedInvoice,
    ExpireCoupons,
    ForfeitGrant,
    FreezeContract,
    FundContract,
    FundProject,
    IssueCoupon,
    MakeAward,
    MakeToken,
    NoticeClaim,
    OpenLateWindow,
    OrderClaim,
    PayClaim,
    Propose,
    RecoverDebt,
    RegisterContract,
    RegisterEnterprise,
    RegisterKey,
    RegisterPerson,
    RegisterProject,
    RegisterProvider,
    ReleaseRecord,
    ResolveObjection,
    RetireLogKey,
    RetireReceiptKey,
    ReturnPayment,
    RevokeClaim,
    RevokeKey,
    SetBudget,
    SucceedEnterprise,
    UnfreezeContract,
    VoidRecord,
    WithdrawCoupon,
)
from meter.rules.decide_command import CommandResponse
from meter.rules.kinds.policies import POLICY
from meter.rules.kinds.proposals import PROPOSAL, PROPOSAL_END
from meter.rules.kinds.table import BY_COMMAND
from meter.rules.two_persons import PROPOSABLE, proposed_command
from meter.values.policy import shipped_text
from meter.values.problems import Problem
from meter.values.strict import Lines, decode_request

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
MAX_COMMAND_BYTES: Final = 256 * 1024
_KEY: Final = re.compile(r"[\x21-\x7e]{1,128}")


def _handler_of(kind: type[Asked]) -> Handler:
    """Return the handler of one kind of command."""

    async def post_command(ask: Ask) -> web.Response:
        assert ask.who is not None, "commands are not public"
        key = idempotency_key(ask.request, must_be_there=_moves_money(kind))
        body = await ask.request.app[BODIES].read(ask.request, MAX_COMMAND_BYTES)
        answer = await _give(ask, kind, body, key)
        return web.Response(
            body=answer.body,
            status=answer.status,
            content_type="application/json",
            headers={REPLAYED: "true"} if answer.replayed else None,
        )

    return post_command


async def give(
    ask: Ask, path: str, body: Mapping[str, Any], key: str, **names: str
) -> CommandResponse:
    """Give a command as whoever is signed in, as its POST to a path of the API would.

    `path` is a route's, `names` are its parameters, `key` is the Idempotency-Key. Raises `Problem`
    as the route does.
    """
    route = _BY_PATH[path]
    ask = as_asked(ask, route, None, names)
    kind = cast("type[Asked]", route.body)
    return await _give(ask, kind, msgspec.json.encode(body), _checked_key(key))


async def give_kind(ask: Ask, name: str, body: Mapping[str, Any], key: str) -> CommandResponse:
    """Give a command by its kind, with a body as a proposal has it. Raises `Problem`."""
    command = PROPOSABLE[name].command
    assert command is not None, "it can be proposed"
    path, _ = COMMANDS[command]
    named = {each: body[each] for each in path_names(_BY_PATH[path])}
    rest = {each: value for each, value in body.items() if each not in named}
    return await give(ask, path, rest, key, **named)


def check_body(path: str, body: Mapping[str, Any], **names: str) -> None:
    """Raise `malformed` for a body that the POST to a path takes in no state of the ledger."""
    kind = cast("type[Asked]", _BY_PATH[path].body)
    read_command(msgspec.json.encode(body), kind, names)


async def _give(ask: Ask, kind: type[Asked], body: bytes, key: str | None) -> CommandResponse:
    assert ask.who is not None, "commands are not public"
    command = read_command(body, kind, ask.path_names())
    _check_firm(ask, command)
    return await ask.context.submissions.command(command, ask.who.token_id, key)


def _check_firm(ask: Ask, command: Asked) -> None:
    """Raise `Problem` where a firm's token gives a command about what is another's."""
    assert ask.who is not None, "commands are not public"
    if ask.who.role == "enterprise":
        firm = BY_COMMAND[type(command)].firm if isinstance(command, Command) else None
        assert firm is not None, "the route lets no other command of a firm pass"
        ask.must_be_theirs(enterprise=firm(ask.context.registry.now.state, command))


def _moves_money(kind: type[Asked]) -> bool:
    """Return whether a command moves money; a proposal is confirmed once, whatever it holds."""
    return issubclass(kind, Command) and BY_COMMAND[kind].moves_money


def idempotency_key(request: web.Request, *, must_be_there: bool = False) -> str | None:
    """Return the Idempotency-Key of a request. Raises `idempotency_key_needed`, `malformed`."""
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is None:
        if must_be_there:
            raise Problem("idempotency_key_needed", "send a fresh key with each new command")
        return None
    return _checked_key(key)


def _checked_key(key: str) -> str:
    if not _KEY.fullmatch(key) or key.startswith("auto-"):
        raise Problem("malformed", f"{IDEMPOTENCY_KEY} is 1 to 128 visible ASCII, not 'auto-…'")
    return key


def read_command(body: bytes, kind: type[Asked], names: Mapping[str, str]) -> Asked:
    """Return the command of a request's body and URL. Raises `Problem` `malformed`."""
    try:
        command = decode_request(body or b"{}", kind, names)
    except ValueError as error:
        raise Problem("malformed", str(error)) from None
    if isinstance(command, ActivatePolicy) and command.content is UNSET:
        text = shipped_text(command.programme, command.version)
        return structs.replace(command, content=Lines(text))
    if isinstance(command, Propose):
        proposed_command(command)  # before it waits: it may be anything
        if command.command == POLICY.name:
            command = structs.replace(command, body=_with_content(command.body))
    return command


def _with_content(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a policy with its text: without one, the shipped file is meant."""
    if "content" in body:
        return body
    return body | {"content": shipped_text(body["programme"], body["version"])}


# The URL of each command, and what it does; codes, body and roles follow from its kind.
COMMANDS: Final[dict[type[Command], tuple[str, str]]] = {
    ActivatePolicy: ("/v1/policies", "Put a policy in force and open its pools"),
    SetBudget: ("/v1/budgets", "Set what the pool of a year may issue"),
    RegisterProvider: ("/v1/providers", "Enlist a provider"),
    EnlistProvider: (
        "/v1/providers/{provider}/enlistments",
        "Enlist more devices, or move the end of an enlistment",
    ),
    RegisterKey: ("/v1/providers/{provider}/keys", "Register a provider's signing key"),
    RevokeKey: ("/v1/keys/{keyid}/revoke", "Take no new batch under a key"),
    AddLogKey: ("/v1/log-keys", "Sign checkpoints with a further key"),
    RetireLogKey: ("/v1/log-keys/retire", "Sign no further checkpoint with a key"),
    AddReceiptKey: ("/v1/receipt-keys", "Sign receipts with a further key"),
    RetireReceiptKey: ("/v1/receipt-keys/retire", "Sign no further receipt with a key"),
    RegisterEnterprise: ("/v1/enterprises", "Register who may be funded"),
    SucceedEnterprise: (
        "/v1/enterprises/{uscc}/succeed",
        "Let a successor take an enterprise's place",
    ),
    RegisterContract: ("/v1/contracts", "Register a compute service contract"),
    AmendEnterprise: ("/v1/enterprises/{uscc}/amend", "Amend what is registered of an enterprise"),
    AmendProvider: ("/v1/providers/{provider}/amend", "Give a provider another name"),
    AmendContract: ("/v1/contracts/{contract}/amend", "Amend a contract, or correct its terms"),
    FreezeContract: ("/v1/contracts/{contract}/freeze", "Refuse new records of a contract"),
    OpenLateWindow: ("/v1/contracts/{contract}/late-window", "Take late records for some time"),
    UnfreezeContract: ("/v1/contracts/{contract}/unfreeze", "Take a contract's records again"),
    FundContract: ("/v1/contracts/{contract}/funds", "Set other public money for a contract"),
    RegisterProject: ("/v1/projects", "Register a project that awards and contracts may be for"),
    AuditProject: ("/v1/projects/{project}/audit", "Set a project's audited investment"),
    FundProject: ("/v1/projects/{project}/funds", "Set other public money for a project"),
    MakeAward: ("/v1/awards", "Issue and grant an award"),
    ChangeAward: ("/v1/awards/{award}/change", "Set an award's amount anew"),
    IssueCoupon: ("/v1/coupons", "Issue money from the pool to an enterprise's coupon"),
    AllocatePool: ("/v1/allocations", "Divide the pool of a year among all who ask"),
    WithdrawCoupon: ("/v1/coupons/withdraw", "Take back what a coupon has not granted"),
    ExpireCoupons: ("/v1/coupons/expire", "Return what a year's coupons have left to the pool"),
    CloseYear: ("/v1/years/close", "Close a programme's year"),
    CloseMonth: ("/v1/months/{month}/close", "Close a month of the ledger"),
    ConfirmMonth: ("/v1/months/{month}/confirm", "Agree with what a closed month has booked"),
    DisputeRecord: ("/v1/records/dispute", "Dispute a record"),
    DismissDispute: ("/v1/records/dispute/dismiss", "Let a disputed record stand"),
    EnterClaim: ("/v1/claims", "Claim what an item was granted in a year"),
    CheckClaim: ("/v1/claims/{claim}/check", "Confirm that a claim agrees with its papers"),
    EndClaim: ("/v1/claims/{claim}/end", "Return, reject or withdraw a claim"),
    ApproveClaim: ("/v1/claims/{claim}/approve", "Approve a claim: its money becomes payable"),
    NoticeClaim: ("/v1/claims/{claim}/notice", "Give public notice of an approved claim"),
    EnterObjection: ("/v1/claims/{claim}/objections", "Enter an objection to a claim"),
    ResolveObjection: (
        "/v1/claims/{claim}/objections/{objection}/resolve",
        "Resolve an objection",
    ),
    RevokeClaim: ("/v1/claims/{claim}/revoke", "Take an approval back"),
    OrderClaim: ("/v1/claims/{claim}/order", "Order the payment, debts set off"),
    PayClaim: ("/v1/claims/{claim}/payment", "Enter that the bank has paid"),
    ReturnPayment: ("/v1/claims/{claim}/payment-return", "Enter that a payment came back"),
    RecoverDebt: ("/v1/recoveries", "Enter what came back of a debt"),
    EnterRedInvoice: ("/v1/invoices/red", "Enter a red invoice"),
    ForfeitGrant: ("/v1/items/{item}/forfeits", "Set what is forfeited of a grant"),
    VoidRecord: ("/v1/records/void", "Take a record back, at any age"),
    ReleaseRecord: ("/v1/records/release", "Let the withheld part of a record count"),
    RegisterPerson: ("/v1/persons", "Let a person speak for the authority"),
    EndPerson: ("/v1/persons/{id}/end", "End a person, with all tokens and open proposals"),
    MakeToken: ("/v1/tokens", "Name a token of the authority, and its person"),
    EndToken: ("/v1/tokens/{token}/end", "End a token of the authority"),
    Propose: ("/v1/proposals", "Propose a command, for another person to confirm"),
    EndProposal: ("/v1/proposals/{proposal}/end", "End a proposal of one's own"),
}
_posted: Final = {command for command, kind in BY_COMMAND.items() if kind.persons}
if set(COMMANDS) != _posted:
    raise TypeError(f"no URL, or no kind: {set(COMMANDS) ^ _posted}")


def _command(command: type[Command]) -> Route:
    path, summary = COMMANDS[command]
    kind = BY_COMMAND[command]
    needed = ("idempotency_key_needed",) if kind.moves_money else ()
    two = ("two_persons_needed",) if kind.name not in _ALWAYS_ALONE else ()
    return Route(
        "POST",
        path,
        _handler_of(command),
        summary,
        MadeEntry,
        roles=("authority",) if kind.firm is None else ("authority", "enterprise"),
        body=command,
        codes=("idempotency_conflict", *needed, *two, *kind.codes),
    )


# What every ledger lets one person do: a contract has a limit, and a ledger may let less.
_ALWAYS_ALONE: Final = {PROPOSAL.name, PROPOSAL_END.name}
_CONFIRMATION: Final = Route(
    "POST",
    "/v1/proposals/{proposal}/confirm",
    _handler_of(ConfirmProposal),
    "Give a proposed command as its second person",
    MadeEntry,
    roles=("authority",),
    body=ConfirmProposal,
    codes=tuple(
        dict.fromkeys(
            (
                *("idempotency_conflict", "same_person", "unknown_proposal", "proposal_closed"),
                *(code for kind in PROPOSABLE.values() for code in kind.codes),
            )
        )
    ),
)
ROUTES: Final = [
    *map(_command, COMMANDS),
    _CONFIRMATION,
]
_BY_PATH: Final = {route.path: route for route in ROUTES}
