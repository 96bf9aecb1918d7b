"""Asking the customer: what offers, reminders and ready requests have in common.

One question a need, repeated after some days where nobody answers; after a no, once more when the run-out is near. What
contact rules forbid is held until they allow it, and decided again then; where the contact limit is used up a request is made
ready at once, which is no contact.
"""

from __future__ import annotations

from collections.abc import Callable

from config.resolve import PartItem, SlotItem
from reactor.acts import AnyCase, ask, contact_rules, hold
from reactor.experiences.case import Case
from reactor.policy import Timing
from reactor.quotes import Quote
from reactor.rules.away import away
from reactor.state import Need, TimerKind
from reactor.texts import moment
from star.react import Option, ReactionType, RuleVerdict
from star.repeat import NeedState
from star.times import DAY_MS

ANSWER_DAYS = 1.0
"""What an answer takes: questions are put so much earlier than an order would go out."""
LOOKING_DAYS = 2.0
"""The same where nobody is told, and the customer has to look."""
ASK_AGAIN_DAYS = (3.0, 7.0)
"""After the first unanswered contact, and after each later one."""
READY_AGAIN_DAYS = 14.0
NO_DAYS = 30.0
"""How long a no stands where no refill is ever seen."""
IMMINENT = 0.5
"""From this probability of a run-out before a delivery on, it is worth asking sooner, and once more after a no."""


def may_ask(need: Need | None, kind: ReactionType, at_ms: int, *, imminent: bool) -> bool:
    """Whether the need's customer may be asked (again), contact rules aside."""
    if need is None:
        return True
    last_ms = need.readied_ms if kind is ReactionType.REQUEST_READY else need.contacted_ms
    if need.declined_ms is not None and said_no(need, at_ms):
        asked_after = last_ms is not None and last_ms > need.declined_ms
        return need.declined == 1 and imminent and not asked_after and at_ms - need.declined_ms >= DAY_MS
    if last_ms is None:
        return True
    passed_days = (at_ms - last_ms) / DAY_MS
    if kind is ReactionType.REQUEST_READY:
        return passed_days >= READY_AGAIN_DAYS
    again = ASK_AGAIN_DAYS[0] if need.contacts == 1 else ASK_AGAIN_DAYS[1]
    return passed_days >= again or (need.contacts == 1 and imminent and passed_days >= 1.0)


def said_no(need: Need | None, at_ms: int) -> bool:
    """Whether the customer said no to this need, lately enough to be held to it."""
    return need is not None and need.declined_ms is not None and at_ms - need.declined_ms < NO_DAYS * DAY_MS


def waits_for_its_time(case: AnyCase) -> bool:
    """Whether the need was put off to a moment that has not come, or asked so lately that nothing is to be decided."""
    need = case.need
    if need is None:
        return False
    timer = case.turn.state.timers.get(f"{TimerKind.HOLD}:{need.id}")
    return timer is not None and timer.due_ms > case.at_ms


def standing(case: AnyCase) -> RuleVerdict | None:
    """What puts off anything new for the item: an order that may still arrive, a cancellation, a supplier's failure."""
    turn, need = case.turn, case.need
    order = turn.state.arriving(case.item.key)
    if order is not None:
        timer = turn.state.timers.get(f"{TimerKind.DEADLINE}:{order.id}")
        until_ms = timer.due_ms if timer is not None else None
        return RuleVerdict(rule="outstanding", allowed=False, reason=case.say("outstanding_no"), until_ms=until_ms)
    if need is not None and need.snoozed_ms is not None and need.snoozed_ms > case.at_ms:
        reason = case.say("snooze_no", until=moment(need.snoozed_ms, case.customer))
        return RuleVerdict(rule="snooze", allowed=False, reason=reason, until_ms=need.snoozed_ms)
    if need is not None and need.retry_ms is not None and need.retry_ms > case.at_ms:
        reason = case.say("retry_no", until=moment(need.retry_ms, case.customer))
        return RuleVerdict(rule="retry", allowed=False, reason=reason, until_ms=need.retry_ms)
    return None


def put(
    case: AnyCase,
    kind: ReactionType,
    because: Callable[[ReactionType], str],
    options: tuple[Option, ...],
    *,
    rules: tuple[RuleVerdict, ...],
    timing: Timing,
    leads: tuple[tuple[float, float], ...] = (),
) -> None:
    """Asks, or holds the question. because: the sentence for a way of asking. leads: lead times of what could be ordered."""
    imminent = timing.p_out > IMMINENT
    if not may_ask(case.need, kind, case.at_ms, imminent=imminent):
        return
    refusal = standing(case)
    if refusal is not None:
        hold(case, refusal, (*rules, refusal), kind=TimerKind.AGAIN)
        return
    absent = _absent(case, leads)
    if absent is not None:
        hold(case, absent, (*rules, absent), kind=TimerKind.HOLD)
        return
    if kind is ReactionType.REQUEST_READY:
        ask(case, kind, because(kind), options, rules=rules, timing=timing)
        return
    quiet, limit = contact_rules(case)
    rules = (*rules, quiet, limit)
    if quiet.allowed and limit.allowed:
        ask(case, kind, because(kind), options, rules=rules, timing=timing)
        return
    ready = ReactionType.REQUEST_READY
    if not limit.allowed and may_ask(case.need, ready, case.at_ms, imminent=imminent) and _can_ready(case.need):
        ask(case, ready, because(ready), options, rules=rules, timing=timing)
        if limit.until_ms is not None:
            case.turn.set_timer(TimerKind.HOLD, case.opened().id, limit.until_ms)
        return
    hold(case, quiet if limit.allowed else limit, rules, kind=TimerKind.HOLD)


def _can_ready(need: Need | None) -> bool:
    """An open offer or reminder says all that a ready request would."""
    return need is None or need.state in (NeedState.OPEN, NeedState.READIED, NeedState.REFUSED)


def _absent(case: AnyCase, leads: tuple[tuple[float, float], ...]) -> RuleVerdict | None:
    """The refusal by absence, where whatever could be ordered might arrive in it: the one that ends first."""
    verdicts = [away(case.customer, case.at_ms, lead) for lead in leads]
    if not verdicts or any(verdict.allowed for verdict in verdicts):
        return None
    return min(verdicts, key=lambda verdict: verdict.until_ms or 0)


def passed(case: Case[SlotItem] | Case[PartItem]) -> None:
    """Nothing is to be done: a need that waits for nothing and is no longer pressing ends."""
    need = case.need
    if need is None or need.state is not NeedState.OPEN or need.mandate is not None:
        return
    if need.snoozed_ms is not None and need.snoozed_ms > case.at_ms:
        return
    because = case.say("passed", state=case.state())
    need = case.turn.receipt(need, "passed", because, case.at_ms, forecast=case.forecast)
    case.turn.close(need, case.at_ms)
    case.need = None


def leads_of(quotes: tuple[Quote, ...]) -> tuple[tuple[float, float], ...]:
    """When each of them could arrive."""
    return tuple(quote.widest_days() for quote in quotes)
