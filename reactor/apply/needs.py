"""Applies the commands about needs."""

from __future__ import annotations

from dataclasses import replace

from reactor import commands
from reactor.apply.reactions import add_reaction, record_decision
from reactor.commands import REFUSED, WAIT, NeedTarget
from reactor.rules.contact_limit import add_contact
from reactor.state import IN_PROGRESS_STATES, Need, PendingPrompt, TimerKind
from reactor.unit_of_work import UnitOfWork
from star.ids import ItemId, NeedId
from star.react import ReactionType
from star.repeat import NEED_TRANSITIONS, NeedState, transition

PROMPTED_STATE = {
    ReactionType.REQUEST_READY: NeedState.READIED,
    ReactionType.OFFER_MADE: NeedState.OFFERED,
    ReactionType.REMINDER_SENT: NeedState.REMINDED,
}
"""The state of a need after each kind of prompt."""


def ensure_need(unit: UnitOfWork, target: NeedTarget) -> Need:
    """The item's live need, opened where there is none. Cycles of needs are counted here and nowhere else."""
    need = unit.state.live_need(target.item)
    if need is not None:
        return need
    record = unit.view.item_record(target.item)
    cycle = record.cycle + 1
    unit.upsert(replace(record, cycle=cycle))
    need = Need(
        id=str(NeedId(ItemId.parse(target.item), cycle)),
        item=target.item,
        customer=target.customer,
        kind=target.kind,
        cause=target.cause,
        cycle=cycle,
        state=NeedState.OPEN,
        opened_ms=target.at_ms,
    )
    unit.upsert(need)
    return need


def move_need(unit: UnitOfWork, need: Need, to: NeedState) -> Need:
    """The need in state `to`, by way of "open" where the table has no direct move. Staying is no move."""
    if need.state is not to and to not in NEED_TRANSITIONS[need.state]:
        need = move_need(unit, need, NeedState.OPEN)
    if need.state is not to:
        need = replace(need, state=transition(need.state, to))
        unit.upsert(need)
    return need


def close_prompts(unit: UnitOfWork, need: Need) -> None:
    """An answer to one of the need's prompts closes them all."""
    for id_ in sorted(unit.state.prompts_by_need.get(need.id, ())):
        unit.upsert(replace(unit.state.prompts[id_], open=False))
        unit.schedule_expiry(id_)


def clear_timers(unit: UnitOfWork, need: Need) -> None:
    """Clears the need's hold and its next evaluation."""
    unit.clear_timer(TimerKind.HOLD, need.id)
    unit.clear_timer(TimerKind.REEVALUATE, need.id)


def prompt_customer(unit: UnitOfWork, command: commands.PromptCustomer) -> None:
    """Makes the reaction and its prompt, and counts the contact, unless a request is made ready."""
    kind, options, at_ms = command.kind, command.options, command.target.at_ms
    need = ensure_need(unit, command.target)
    unit.clear_timer(TimerKind.HOLD, need.id)
    need = move_need(unit, need, PROMPTED_STATE[kind])
    need, reaction = add_reaction(
        unit,
        need,
        kind,
        at_ms,
        command.rationale.because,
        option=options[0] if options else None,
        options=options if kind is ReactionType.OFFER_MADE else (),
        forecast=command.target.forecast,
    )
    prompt = PendingPrompt(
        id=reaction.id,
        need=need.id,
        item=need.item,
        customer=need.customer,
        type=kind,
        at_ms=at_ms,
        options=options,
    )
    unit.upsert(prompt)
    if kind is ReactionType.REQUEST_READY:
        need = replace(need, readied_ms=at_ms)
    else:
        unit.upsert(add_contact(unit.state.contacts.get(need.customer), need.customer, at_ms))
        need = replace(need, contacts=need.contacts + 1, contacted_ms=at_ms)
    record_decision(
        unit, need, str(kind), command.rationale, at_ms, forecast=command.target.forecast, reaction=reaction.id
    )
    if command.hold_until_ms is not None:
        unit.set_timer(TimerKind.HOLD, need.id, command.hold_until_ms)


def hold(unit: UnitOfWork, command: commands.Hold) -> None:
    """Sets the timer, at the earliest just after the moment decided for, and records the hold once."""
    target = command.target
    need = ensure_need(unit, target)
    if command.until_ms is not None:
        unit.set_timer(command.timer, need.id, max(command.until_ms, target.at_ms + 1))
    record_decision(
        unit,
        need,
        REFUSED if command.until_ms is None else WAIT,
        command.rationale,
        target.at_ms,
        forecast=target.forecast,
        dedup_key=command.dedup_key,
    )


def record(unit: UnitOfWork, command: commands.RecordDecision) -> None:
    """Writes a receipt without a reaction."""
    record_decision(
        unit,
        unit.state.needs[command.need],
        command.verdict,
        command.rationale,
        command.at_ms,
        forecast=command.forecast,
        dedup_key=command.dedup_key,
    )


def authorize(unit: UnitOfWork, command: commands.AuthorizeNeed) -> None:
    """Opens the need where there is none."""
    need = ensure_need(unit, command.target)
    need = replace(need, mandate=command.authorization, declined_ms=None, snoozed_ms=None, retry_ms=None)
    unit.upsert(need)
    clear_timers(unit, need)
    unit.to_reevaluate.add(need.item)


def withdraw_authorization(unit: UnitOfWork, command: commands.WithdrawAuthorization) -> None:
    """Drops the authorization, and where asked the contacts made."""
    need = replace(unit.state.needs[command.need], mandate=None)
    if command.forget_contacts:
        need = replace(need, contacts=0, contacted_ms=None, readied_ms=None)
    unit.upsert(need)


def refresh_forecast(unit: UnitOfWork, command: commands.RefreshForecast) -> None:
    """Keeps the forecast."""
    unit.upsert(replace(unit.state.needs[command.need], forecast=command.forecast))


def settle_prompts(unit: UnitOfWork, command: commands.SettlePrompts) -> None:
    """Closes the prompts and clears the timers."""
    need = unit.state.needs[command.need]
    close_prompts(unit, need)
    clear_timers(unit, need)


def release_hold(unit: UnitOfWork, command: commands.ReleaseHold) -> None:
    """Clears the hold; the item is evaluated at this tick."""
    unit.clear_timer(TimerKind.HOLD, command.need)
    unit.to_reevaluate.add(unit.state.needs[command.need].item)


def reevaluate(unit: UnitOfWork, command: commands.Reevaluate) -> None:
    """The item is evaluated at this tick."""
    unit.to_reevaluate.add(command.item)


def move(unit: UnitOfWork, command: commands.MoveNeed) -> None:
    """Moves the need."""
    move_need(unit, unit.state.needs[command.need], command.to)


def mark_met(unit: UnitOfWork, command: commands.MarkMet) -> None:
    """Marks the need as met."""
    unit.upsert(replace(unit.state.needs[command.need], met=True))


def mark_refused(unit: UnitOfWork, command: commands.MarkRefused) -> None:
    """Marks the need as refused, and drops its authorization."""
    unit.upsert(replace(unit.state.needs[command.need], refused=True, mandate=None))


def refuse(unit: UnitOfWork, command: commands.RefuseNeed) -> None:
    """Counts the refusal. A need in progress is opened first, and an open one readied: only a need that asked is refused."""
    need = unit.state.needs[command.need]
    if need.state in IN_PROGRESS_STATES:
        need = move_need(unit, need, NeedState.OPEN)
    if need.state is NeedState.OPEN:
        need = move_need(unit, need, NeedState.READIED)
    need = move_need(unit, need, NeedState.REFUSED)
    unit.upsert(replace(need, declined=need.declined + 1, declined_ms=unit.at_ms))


def resume(unit: UnitOfWork, command: commands.ResumeNeed) -> None:
    """The need is ordered again, and no longer marked as refused."""
    move_need(unit, replace(unit.state.needs[command.need], refused=False), NeedState.ORDERED)


def snooze(unit: UnitOfWork, command: commands.SnoozeNeed) -> None:
    """Opens the need and sets its next evaluation."""
    need = move_need(unit, unit.state.needs[command.need], NeedState.OPEN)
    unit.upsert(replace(need, snoozed_ms=command.until_ms, mandate=None))
    unit.set_timer(TimerKind.REEVALUATE, need.id, command.until_ms)


def reopen(unit: UnitOfWork, command: commands.ReopenNeed) -> None:
    """Opens the need and counts the failure; sets its next evaluation where there is a wait."""
    need = move_need(unit, unit.state.needs[command.need], NeedState.OPEN)
    tried = tuple(dict.fromkeys((*need.tried, command.supplier)))
    unit.upsert(replace(need, failures=need.failures + 1, tried=tried, retry_ms=command.retry_ms))
    if command.retry_ms is not None:
        unit.set_timer(TimerKind.REEVALUATE, need.id, command.retry_ms)


def close(unit: UnitOfWork, command: commands.CloseNeed) -> None:
    """Closes the need, its prompts and its timers."""
    need = unit.state.needs[command.need]
    close_prompts(unit, need)
    clear_timers(unit, need)
    unit.upsert(replace(need, state=transition(need.state, NeedState.CLOSED), closed_ms=command.at_ms))
