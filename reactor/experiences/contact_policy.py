"""Asking the customer: what offers, reminders and ready requests have in common.

One question a need, repeated after some days where nobody answers; after a no, once more when the run-out is near. What
contact rules forbid is held until they allow it, and decided again then; where the contact limit is used up a request is made
ready at once, which is no contact.
"""

from __future__ import annotations

from collections.abc import Callable

from config.catalogue import PartItem, SlotItem
from reactor.commands import AnyContext, check_contact_rules, hold_decision, prompt_customer
from reactor.decision.decision_context import DecisionContext
from reactor.decision.quotes import Quote
from reactor.decision.reorder_policy import Timing
from reactor.i18n import format_moment
from reactor.rules.absence import check_absence
from reactor.state import Need, TimerKind
from star.react import Option, ReactionType, RuleVerdict
from star.repeat import NeedState
from star.times import DAY_MS

RESPONSE_DAYS = 1.0
"""What an answer takes: questions are put so much earlier than an order would go out."""
UNNOTIFIED_RESPONSE_DAYS = 2.0
"""The same where nobody is told, and the customer has to look."""
REMIND_AFTER_DAYS = (3.0, 7.0)
"""After the first unanswered contact, and after each later one."""
READY_REPEAT_DAYS = 14.0
REFUSAL_DAYS = 30.0
"""How long a no stands where no refill is ever seen."""
IMMINENT_RISK = 0.5
"""From this probability of a run-out before a delivery on, it is worth asking sooner, and once more after a no."""


def may_prompt(need: Need | None, kind: ReactionType, at_ms: int, *, imminent: bool) -> bool:
    """Whether the need's customer may be asked (again), contact rules aside."""
    if need is None:
        return True
    last_ms = need.readied_ms if kind is ReactionType.REQUEST_READY else need.contacted_ms
    if need.declined_ms is not None and has_declined(need, at_ms):
        asked_after = last_ms is not None and last_ms > need.declined_ms
        return need.declined == 1 and imminent and not asked_after and at_ms - need.declined_ms >= DAY_MS
    if last_ms is None:
        return True
    passed_days = (at_ms - last_ms) / DAY_MS
    if kind is ReactionType.REQUEST_READY:
        return passed_days >= READY_REPEAT_DAYS
    again = REMIND_AFTER_DAYS[0] if need.contacts == 1 else REMIND_AFTER_DAYS[1]
    return passed_days >= again or (need.contacts == 1 and imminent and passed_days >= 1.0)


def has_declined(need: Need | None, at_ms: int) -> bool:
    """Whether the customer said no to this need, lately enough to be held to it."""
    return need is not None and need.declined_ms is not None and at_ms - need.declined_ms < REFUSAL_DAYS * DAY_MS


def is_on_hold(context: AnyContext) -> bool:
    """Whether the need was put off to a moment that has not come, or asked so lately that nothing is to be decided."""
    need = context.need
    if need is None:
        return False
    timer = context.unit.state.timers.get(f"{TimerKind.HOLD}:{need.id}")
    return timer is not None and timer.due_ms > context.at_ms


def blocking_verdict(context: AnyContext) -> RuleVerdict | None:
    """What puts off anything new for the item: an order that may still arrive, a cancellation, a supplier's failure."""
    unit, need = context.unit, context.need
    order = unit.state.open_order(context.item.key)
    if order is not None:
        timer = unit.state.timers.get(f"{TimerKind.DEADLINE}:{order.id}")
        until_ms = timer.due_ms if timer is not None else None
        return RuleVerdict(
            rule="outstanding", allowed=False, reason=context.translate("outstanding_no"), until_ms=until_ms
        )
    if need is not None and need.snoozed_ms is not None and need.snoozed_ms > context.at_ms:
        reason = context.translate("snooze_no", until=format_moment(need.snoozed_ms, context.customer))
        return RuleVerdict(rule="snooze", allowed=False, reason=reason, until_ms=need.snoozed_ms)
    if need is not None and need.retry_ms is not None and need.retry_ms > context.at_ms:
        reason = context.translate("retry_no", until=format_moment(need.retry_ms, context.customer))
        return RuleVerdict(rule="retry", allowed=False, reason=reason, until_ms=need.retry_ms)
    return None


def prompt_or_hold(
    context: AnyContext,
    kind: ReactionType,
    because: Callable[[ReactionType], str],
    options: tuple[Option, ...],
    *,
    rules: tuple[RuleVerdict, ...],
    timing: Timing,
    arrival_windows_days: tuple[tuple[float, float], ...] = (),
) -> None:
    """Asks, or holds the question. because: the sentence for a way of asking. leads: lead times of what could be ordered."""
    imminent = timing.p_stockout > IMMINENT_RISK
    if not may_prompt(context.need, kind, context.at_ms, imminent=imminent):
        return
    refusal = blocking_verdict(context)
    if refusal is not None:
        hold_decision(context, refusal, (*rules, refusal), kind=TimerKind.REEVALUATE)
        return
    absent = _absence_verdict(context, arrival_windows_days)
    if absent is not None:
        hold_decision(context, absent, (*rules, absent), kind=TimerKind.HOLD)
        return
    if kind is ReactionType.REQUEST_READY:
        prompt_customer(context, kind, because(kind), options, rules=rules, timing=timing)
        return
    quiet, limit = check_contact_rules(context)
    rules = (*rules, quiet, limit)
    if quiet.allowed and limit.allowed:
        prompt_customer(context, kind, because(kind), options, rules=rules, timing=timing)
        return
    ready = ReactionType.REQUEST_READY
    if (
        not limit.allowed
        and may_prompt(context.need, ready, context.at_ms, imminent=imminent)
        and _may_make_ready(context.need)
    ):
        prompt_customer(context, ready, because(ready), options, rules=rules, timing=timing)
        if limit.until_ms is not None:
            context.unit.set_timer(TimerKind.HOLD, context.ensure_need().id, limit.until_ms)
        return
    hold_decision(context, quiet if limit.allowed else limit, rules, kind=TimerKind.HOLD)


def _may_make_ready(need: Need | None) -> bool:
    """An open offer or reminder says all that a ready request would."""
    return need is None or need.state in (NeedState.OPEN, NeedState.READIED, NeedState.REFUSED)


def _absence_verdict(context: AnyContext, leads: tuple[tuple[float, float], ...]) -> RuleVerdict | None:
    """The refusal by absence, where whatever could be ordered might arrive in it: the one that ends first."""
    verdicts = [check_absence(context.customer, context.at_ms, lead) for lead in leads]
    if not verdicts or any(verdict.allowed for verdict in verdicts):
        return None
    return min(verdicts, key=lambda verdict: verdict.until_ms or 0)


def close_if_resolved(context: DecisionContext[SlotItem] | DecisionContext[PartItem]) -> None:
    """Nothing is to be done: a need that waits for nothing and is no longer pressing ends."""
    need = context.need
    if need is None or need.state is not NeedState.OPEN or need.mandate is not None:
        return
    if need.snoozed_ms is not None and need.snoozed_ms > context.at_ms:
        return
    because = context.translate("passed", state=context.remaining_text())
    need = context.unit.record_decision(need, "passed", because, context.at_ms, forecast=context.forecast)
    context.unit.close_need(need, context.at_ms)
    context.need = None


def arrival_windows(quotes: tuple[Quote, ...]) -> tuple[tuple[float, float], ...]:
    """When each of them could arrive."""
    return tuple(quote.arrival_window_days() for quote in quotes)
