"""Applies commands to the unit of work: the one place where a decision changes the state and makes reactions and receipts.

Nothing is decided here. A command that would break an invariant raises: an order for an item that has one under way
(AssertionError), a move that no transition table lists (IllegalTransition).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from reactor import commands
from reactor.apply import needs, orders, records
from reactor.commands import Command
from reactor.unit_of_work import UnitOfWork

APPLIERS: Mapping[type, Callable[[UnitOfWork, Any], None]] = {
    commands.PromptCustomer: needs.prompt_customer,
    commands.Hold: needs.hold,
    commands.RecordDecision: needs.record,
    commands.AuthorizeNeed: needs.authorize,
    commands.WithdrawAuthorization: needs.withdraw_authorization,
    commands.RefreshForecast: needs.refresh_forecast,
    commands.SettlePrompts: needs.settle_prompts,
    commands.ReleaseHold: needs.release_hold,
    commands.Reevaluate: needs.reevaluate,
    commands.MoveNeed: needs.move,
    commands.MarkMet: needs.mark_met,
    commands.MarkRefused: needs.mark_refused,
    commands.RefuseNeed: needs.refuse,
    commands.ResumeNeed: needs.resume,
    commands.SnoozeNeed: needs.snooze,
    commands.ReopenNeed: needs.reopen,
    commands.CloseNeed: needs.close,
    commands.PlaceOrder: orders.place,
    commands.BookService: orders.book,
    commands.CancelOrder: orders.cancel,
    commands.MoveOrder: orders.move,
    commands.ReinstateOrder: orders.reinstate,
    commands.PresumeDelivered: orders.presume_delivered,
    commands.ExtendDeadline: orders.extend_deadline,
    commands.EndOrder: orders.end,
    commands.DeleteExpired: orders.delete_expired,
    commands.RecordDelivery: records.record_delivery,
    commands.RecordLoss: records.record_loss,
    commands.RecordFailure: records.record_failure,
    commands.RecordPrice: records.record_supplier_price,
    commands.RecordLeadTime: records.record_lead_time,
    commands.DropTerms: records.drop_terms,
    commands.ActivateLearned: records.activate_learned,
    commands.CompactSamples: records.compact_samples,
    commands.ExpectRefill: records.expect_refill,
    commands.ClearExpectedRefill: records.clear_expected_refill,
    commands.RecordFeedback: records.record_feedback,
    commands.ReplaceCatalogue: records.replace_catalogue,
    commands.RecordOutcome: records.record_outcome,
    commands.ReportUnmatched: records.report_unmatched,
}
"""What applies each command; a test holds it to the union of commands."""


def apply(unit: UnitOfWork, decided: Iterable[Command]) -> None:
    """Applies the commands in their order."""
    for command in decided:
        APPLIERS[type(command)](unit, command)
