"""Contact policy: when a customer may be prompted, which offers, reminders and ready requests share.

A need is prompted for once, and again after some days without an answer; after a no, once more when the run-out is near. What the
contact rules forbid is held until they allow it, and decided again then. Where the contact limit is used up, a request is made
ready at once, as that is no contact.
"""

from __future__ import annotations

from collections.abc import Callable

from reactor.commands import CloseNeed, Commands, Rationale, RecordDecision
from reactor.decision.quotes import Quote
from reactor.decision.reorder_policy import Timing
from reactor.experiences.command_factory import AnyContext, hold_decision, prompt_customer
from reactor.i18n import format_moment
from reactor.rules.absence import check_absence
from reactor.rules.contact_limit import check_contact_limit
from reactor.rules.quiet_hours import check_quiet_hours
from reactor.state import Need, TimerKind
from star.react import Option, ReactionType, RuleVerdict
from star.repeat import NeedState
from star.times import DAY_MS

RESPONSE_DAYS = 1.0
"""Days that an answer takes: prompts go out so much earlier than an order would."""
UNNOTIFIED_RESPONSE_DAYS = 2.0
"""The same for a ready request, of which nobody is notified: the customer has to look."""
REMIND_AFTER_DAYS = (3.0, 7.0)
"""Days after the first unanswered contact, and after each later one. They trade an answer in time against annoyance."""
READY_REPEAT_DAYS = 14.0
"""Days after which an unanswered ready request is made again."""
REFUSAL_DAYS = 30.0
"""Days that a no holds where no refill is ever detected."""
IMMINENT_RISK = 0.5
"""Probability of a run-out before a delivery from which a prompt may be repeated sooner, and once more after a no."""


def may_prompt(need: Need | None, kind: ReactionType, at_ms: int, *, imminent: bool) -> bool:
    """Whether the need's customer may be prompted (again), contact rules aside."""
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
    """Whether the customer said no to this need within REFUSAL_DAYS."""
    return need is not None and need.declined_ms is not None and at_ms - need.declined_ms < REFUSAL_DAYS * DAY_MS


def is_on_hold(context: AnyContext) -> bool:
    """Whether the need is held until a moment that has not come."""
    if context.need is None:
        return False
    due_ms = context.view.timer_due_ms(TimerKind.HOLD, context.need.id)
    return due_ms is not None and due_ms > context.at_ms


def blocking_verdict(context: AnyContext) -> RuleVerdict | None:
    """What rules out any order for the item: one that may still arrive, a recent cancellation, or a wait after a failure."""
    view, need = context.view, context.need
    order = view.open_order(context.item.key)
    if order is not None:
        until_ms = view.timer_due_ms(TimerKind.DEADLINE, order.id)
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
) -> Commands:
    """Prompts the customer, or holds the prompt.

    because: the sentence for a kind of prompt. arrival_windows_days: of what could be ordered, earliest and latest.
    """
    imminent = timing.p_stockout > IMMINENT_RISK
    if not may_prompt(context.need, kind, context.at_ms, imminent=imminent):
        return ()
    refusal = blocking_verdict(context)
    if refusal is not None:
        return (hold_decision(context, refusal, (*rules, refusal), timer=TimerKind.REEVALUATE),)
    absent = _absence_verdict(context, arrival_windows_days)
    if absent is not None:
        return (hold_decision(context, absent, (*rules, absent), timer=TimerKind.HOLD),)
    if kind is ReactionType.REQUEST_READY:
        return (prompt_customer(context, kind, because(kind), options, rules=rules, timing=timing),)
    quiet = check_quiet_hours(context.customer, context.at_ms)
    limit = check_contact_limit(context.customer, context.view.contacts(context.customer.id), context.at_ms)
    rules = (*rules, quiet, limit)
    if quiet.allowed and limit.allowed:
        return (prompt_customer(context, kind, because(kind), options, rules=rules, timing=timing),)
    ready = ReactionType.REQUEST_READY
    may_ready = may_prompt(context.need, ready, context.at_ms, imminent=imminent) and _may_make_ready(context.need)
    if limit.allowed or not may_ready:
        return (hold_decision(context, quiet if limit.allowed else limit, rules, timer=TimerKind.HOLD),)
    sentence, until_ms = because(ready), limit.until_ms
    return (prompt_customer(context, ready, sentence, options, rules=rules, timing=timing, hold_until_ms=until_ms),)


def _may_make_ready(need: Need | None) -> bool:
    """An open offer or reminder holds all that a ready request would."""
    return need is None or need.state in (NeedState.OPEN, NeedState.READIED, NeedState.REFUSED)


def _absence_verdict(context: AnyContext, windows_days: tuple[tuple[float, float], ...]) -> RuleVerdict | None:
    """The refusal by absence that ends first, where whatever could be ordered might arrive in one."""
    verdicts = [check_absence(context.customer, context.at_ms, window) for window in windows_days]
    if not verdicts or any(verdict.allowed for verdict in verdicts):
        return None
    return min(verdicts, key=lambda verdict: verdict.until_ms or 0)


def close_if_resolved(context: AnyContext) -> Commands:
    """Nothing is to be done: a need that waits for nothing and is no longer pressing is closed."""
    need = context.need
    if need is None or need.state is not NeedState.OPEN or need.mandate is not None:
        return ()
    if need.snoozed_ms is not None and need.snoozed_ms > context.at_ms:
        return ()
    rationale = Rationale(because=context.translate("passed", state=context.remaining_text()))
    return (
        RecordDecision(
            need=need.id, verdict="passed", rationale=rationale, at_ms=context.at_ms, forecast=context.forecast
        ),
        CloseNeed(need=need.id, at_ms=context.at_ms),
    )


def arrival_windows(quotes: tuple[Quote, ...]) -> tuple[tuple[float, float], ...]:
    """When each of them could arrive, in days from now, earliest and latest."""
    return tuple(quote.arrival_window_days() for quote in quotes)
