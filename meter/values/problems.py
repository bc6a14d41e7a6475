"""Every error code that leaves the service: its HTTP status and its title, in one table.

A wrong *request* raises `Problem`; a wrong *record* inside a good batch is a value (a result with a
code of `RECORD_CODES` in `wire/receipt.py`). A response is `application/problem+json` (RFC 9457):

    {"type":"urn:kashi:problem:seq_conflict","title":"…","status":409,"code":"seq_conflict",
     "detail":"…"}
"""

from typing import Final

# code: (HTTP status, title). Codes are stable: clients branch on them.
CODES: Final[dict[str, tuple[int, str]]] = {
    # the request as such
    "malformed": (400, "The request does not have the documented form"),
    "bad_envelope": (400, "The body is not a DSSE envelope of one signature"),
    "bad_batch": (400, "The signed payload is not a usage batch"),
    "bad_policy": (400, "The policy file does not have the documented form"),
    "unauthorized": (401, "A bearer token of the right role is needed"),
    "bad_signature": (401, "No registered key of this name made the signature"),
    "key_revoked": (403, "The key was revoked"),
    "forbidden": (403, "The token's role may not do this"),
    "provider_mismatch": (403, "The key belongs to another provider"),
    "insecure": (403, "People sign in over HTTPS, or on the service's own machine"),
    "foreign_form": (403, "The form was not made for this session"),
    "stranger": (403, "The issuer knows this person, and nobody here does"),
    "sign_in_failed": (403, "Nobody could be signed in"),
    "not_found": (404, "Nothing is known under this name"),
    "method_not_allowed": (405, "The resource does not support this method"),
    "request_timeout": (408, "The request did not arrive in time"),
    "too_large": (413, "The request is larger than the limit"),
    "unsupported_encoding": (415, "Encoded bodies are not accepted"),
    "expectation_failed": (417, "Nothing but 100-continue can be expected"),
    "too_many_sign_ins": (429, "Too many sign-ins from this address have failed"),
    # batches
    "wrong_log": (409, "The batch was signed for another ledger"),
    "wrong_genesis": (409, "The batch was signed for another ledger of this name"),
    "seq_conflict": (409, "This number of the stream holds another batch"),
    # lists
    "moved": (409, "The list has changed since its first page"),
    "within_commit": (422, "The ledger was never answered about at this size"),
    "too_many_entries": (422, "More entries would have to be read than one response reads"),
    # the authority's commands
    "idempotency_key_needed": (400, "Where money moves, Idempotency-Key is required"),
    "idempotency_conflict": (409, "This Idempotency-Key was used with another request"),
    "weak_key": (422, "The public key is one for which others could sign"),
    "bad_proof": (422, "The proof is not the key's own signature over its registration"),
    "exists_differently": (409, "The id is taken, with other content"),
    "looks_alike": (409, "Another id differs only by case, or by dots at its end"),
    "unsupported_section": (422, "The service does not carry out what a section of the file says"),
    "pool_owner": (422, "The pool belongs to another programme, or cannot be shared so"),
    "not_applicant": (422, "The programme does not fund organisations like this one"),
    "unknown_class": (422, "The policy has no class of this name"),
    "wrong_meter": (422, "The programme funds something else than this"),
    "not_served": (422, "The provider does not serve the programme"),
    "role_conflict": (409, "Who serves a programme cannot apply under it"),
    "unknown_policy": (404, "No policy file of this programme and version"),
    "unknown_programme": (404, "The programme has no active policy"),
    "unknown_provider": (404, "No provider of this id is registered"),
    "unknown_enterprise": (404, "No enterprise of this USCC is registered"),
    "unknown_contract": (404, "No contract of this id is registered"),
    "unknown_project": (404, "No project of this id is registered"),
    "unknown_award": (404, "No award of this id is made"),
    "unknown_record": (404, "No accepted record of this id"),
    "unknown_year": (422, "The policy does not touch this year"),
    "bad_dates": (422, "The dates contradict each other, or lie where they cannot"),
    "succeeded": (409, "The enterprise has a successor"),
    "contract_known": (409, "The parties have a contract of this number already"),
    "no_policy": (422, "No policy is in force at the signing or within the term"),
    "too_many_contracts": (422, "The enterprise has as many contracts as one entry can hold"),
    "already_revoked": (409, "The key is revoked already"),
    "already_retired": (409, "The key is retired already"),
    "last_key": (409, "No key would be left to sign"),
    "overlap_open": (409, "Two keys sign already"),
    "key_not_here": (409, "The service does not hold the private key"),
    "two_persons_needed": (403, "The command needs two persons: one proposes, another confirms"),
    "same_person": (403, "Another person must confirm than the one who proposed"),
    "not_its_maker": (403, "Only the person who made the proposal may end it"),
    "unknown_person": (404, "No person of this id is registered"),
    "unknown_token": (404, "The ledger names no token of this id"),
    "unknown_proposal": (404, "No proposal has this number"),
    "proposal_closed": (409, "The proposal was confirmed or has ended"),
    "already_ended": (409, "The person or token has ended already"),
    "last_person": (409, "Too few persons would be left"),
    "already_frozen": (409, "The contract is frozen already"),
    "class_changed": (409, "The firm is a startup no more, and adds to no contract of one"),
    "not_frozen": (409, "The contract is not frozen"),
    "already_voided": (409, "The record is voided already"),
    "nothing_withheld": (409, "No part of the record is withheld"),
    "already_released": (409, "The record is released already"),
    "below_threshold": (422, "The contracts do not reach the minimum rental of the year"),
    "cap_exceeded": (422, "The cap of an applicant or a project would be exceeded"),
    "above_need": (422, "The sum is more than could ever be needed"),
    "project_ceiling": (422, "City and districts would give more than the audited investment"),
    "audit_missing": (422, "The project's audited investment is not known yet"),
    "stacked": (422, "Another programme of the same group funds the project"),
    "pool_exceeded": (422, "The pool of the year does not hold as much"),
    "wrong_allocation": (422, "The policy issues its pool in another way"),
    "pool_below_issued": (422, "A budget cannot go below what was issued from the pool"),
    "no_budget": (422, "The policy states no pool, and the year has no budget"),
    "below_granted": (422, "A coupon cannot go below what it has granted"),
    # claims and payment
    "unknown_claim": (404, "No claim of this id"),
    "unknown_invoice": (404, "No approved claim of the year has this invoice"),
    "unknown_objection": (404, "The claim has no such objection"),
    "no_claims": (422, "The policy has no rules for claims"),
    "claim_open": (409, "A claim for the item is open"),
    "wrong_state": (409, "The state of this is one in which it cannot be done"),
    "invoice_used": (409, "An invoice is bound to another claim"),
    "reference_used": (409, "A payment is bound to another claim"),
    "notice_running": (409, "The public notice is not over"),
    "objection_open": (409, "An objection is not resolved"),
    "year_closed": (422, "The year is closed: nothing more is issued or claimed for it"),
    "year_open": (422, "Claims for the year are open"),
    "unknown_month": (404, "No entry is of this month"),
    "month_open": (409, "The month is not over or not closed, or one before it is not"),
    "gaps_open": (409, "Streams lack numbers, and nobody answers for it"),
    "answer_over": (409, "The time to confirm or dispute the month is over"),
    "month_confirmed": (409, "The firm has confirmed the month"),
    "already_disputed": (409, "The record was disputed before"),
    "unknown_dispute": (404, "Nobody disputes this record"),
    "dispute_decided": (409, "The dispute was decided"),
    "dispute_open": (409, "A record is disputed"),
    "nothing_free": (409, "No coupon of the year has anything left"),
    "free_rest": (409, "Coupons of the year have something left"),
    "evidence_missing": (422, "The policy asks for evidence that the claim lacks"),
    "invoice_party": (422, "An invoice is not between the parties of the contract"),
    "nothing_payable": (422, "Nothing is left to be approved"),
    "above_payable": (422, "The amount is above what can be paid"),
    "above_debt": (422, "The amount is above the debt"),
    "above_granted": (422, "The amount is above what was granted"),
    "above_invoice": (422, "The amount is above what is claimed for of the invoice"),
    # alerts
    "bad_target": (422, "Nothing can be sent to this address"),
    "too_many_targets": (409, "Somebody has as many targets of alerts as there may be"),
    "target_off": (409, "The target is off"),
    # the service
    "busy": (503, "Too much is asked at once; try again"),
    "not_published": (503, "The entry is committed but not published yet; try again"),
    "unavailable": (503, "The outcome is not known or the ledger is not ready; try again"),
    "internal": (500, "The service has failed"),
}

MAX_DETAIL: Final = 500  # characters: a detail may quote a request, and requests may be long


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """A request that cannot be served, with a stable code and the facts.

    `facts` become members of the problem document (RFC 9457 section 3.2).
    """

    def __init__(self, code: str, detail: str, **facts: int | str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail if len(detail) <= MAX_DETAIL else _shortened(detail)
        self.facts = facts
        self.status, self.title = CODES[code]

    def document(self) -> dict[str, int | str]:
        """Return the problem document (RFC 9457 section 3.1)."""
        return {
            "type": f"urn:kashi:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **self.facts,
        }


def _shortened(detail: str) -> str:
    """Return both ends of a detail: what is wrong stands first, and where it is last."""
    end = MAX_DETAIL // 5
    return f"{detail[: MAX_DETAIL - end]}…{detail[-end:]}"
