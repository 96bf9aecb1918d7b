"""Commands: what a decision wants done, as frozen data. Experiences and handlers return them; reactor/apply carries them out.

A command names a need, an order or a record by its id and states the change. What the change counts up (attempts, numbers of
decisions, refusals) is read from the state when it is applied, so that a command holds whatever was applied before it.
"""

from __future__ import annotations

from reactor.commands.needs import (
    REFUSED,
    WAIT,
    AuthorizeNeed,
    CloseNeed,
    Hold,
    MarkMet,
    MarkRefused,
    MoveNeed,
    NeedTarget,
    PromptCustomer,
    Rationale,
    RecordDecision,
    Reevaluate,
    RefreshForecast,
    RefuseNeed,
    ReleaseHold,
    ReopenNeed,
    ResumeNeed,
    SettlePrompts,
    SnoozeNeed,
    WithdrawAuthorization,
)
from reactor.commands.orders import (
    BookService,
    CancelOrder,
    DeleteExpired,
    EndOrder,
    ExtendDeadline,
    MoveOrder,
    PlaceOrder,
    PresumeDelivered,
    ReinstateOrder,
)
from reactor.commands.records import (
    ActivateLearned,
    ClearExpectedRefill,
    CompactSamples,
    DropTerms,
    ExpectRefill,
    RecordDelivery,
    RecordFailure,
    RecordFeedback,
    RecordLeadTime,
    RecordLoss,
    RecordOutcome,
    RecordPrice,
    ReplaceCatalogue,
    ReportUnmatched,
)

__all__ = [
    "REFUSED",
    "WAIT",
    "ActivateLearned",
    "AuthorizeNeed",
    "BookService",
    "CancelOrder",
    "ClearExpectedRefill",
    "CloseNeed",
    "Command",
    "Commands",
    "CompactSamples",
    "DeleteExpired",
    "DropTerms",
    "EndOrder",
    "ExpectRefill",
    "ExtendDeadline",
    "Hold",
    "MarkMet",
    "MarkRefused",
    "MoveNeed",
    "MoveOrder",
    "NeedTarget",
    "PlaceOrder",
    "PresumeDelivered",
    "PromptCustomer",
    "Rationale",
    "RecordDecision",
    "RecordDelivery",
    "RecordFailure",
    "RecordFeedback",
    "RecordLeadTime",
    "RecordLoss",
    "RecordOutcome",
    "RecordPrice",
    "Reevaluate",
    "RefreshForecast",
    "RefuseNeed",
    "ReinstateOrder",
    "ReleaseHold",
    "ReopenNeed",
    "ReplaceCatalogue",
    "ReportUnmatched",
    "ResumeNeed",
    "SettlePrompts",
    "SnoozeNeed",
    "WithdrawAuthorization",
]

Command = (
    PromptCustomer
    | Hold
    | RecordDecision
    | AuthorizeNeed
    | WithdrawAuthorization
    | RefreshForecast
    | SettlePrompts
    | ReleaseHold
    | Reevaluate
    | MoveNeed
    | MarkMet
    | MarkRefused
    | RefuseNeed
    | ResumeNeed
    | SnoozeNeed
    | ReopenNeed
    | CloseNeed
    | PlaceOrder
    | BookService
    | CancelOrder
    | MoveOrder
    | ReinstateOrder
    | PresumeDelivered
    | ExtendDeadline
    | EndOrder
    | DeleteExpired
    | RecordDelivery
    | RecordLoss
    | RecordFailure
    | RecordPrice
    | RecordLeadTime
    | DropTerms
    | ActivateLearned
    | CompactSamples
    | ExpectRefill
    | ClearExpectedRefill
    | RecordFeedback
    | ReplaceCatalogue
    | RecordOutcome
    | ReportUnmatched
)
Commands = tuple[Command, ...]
"""Applied in this order, which is the order of reactions and receipts."""
