"""Applies the commands about items, suppliers and the fleet, and what the step reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reactor import commands
from reactor.decision.lead_time_stats import add_delivery, add_failure, add_loss, apply_feedback
from reactor.decision.price_model import record_price
from reactor.learning_sync import restart_learning, utc_day
from reactor.state import LeadTimeSample
from reactor.unit_of_work import UnitOfWork


def record_delivery(unit: UnitOfWork, command: commands.RecordDelivery) -> None:
    """Counts the lead time in today's sample of the supplier."""
    _add_to_sample(
        unit,
        command.supplier,
        lambda sample: add_delivery(sample, command.ordered_ms, command.delivered_ms, was_lost=command.was_lost),
    )


def record_loss(unit: UnitOfWork, command: commands.RecordLoss) -> None:
    """Counts the loss in today's sample of the supplier."""
    _add_to_sample(unit, command.supplier, add_loss)


def record_failure(unit: UnitOfWork, command: commands.RecordFailure) -> None:
    """Counts the failure in today's sample of the supplier."""
    _add_to_sample(unit, command.supplier, add_failure)


def _add_to_sample(unit: UnitOfWork, supplier: str, add: Callable[[LeadTimeSample], LeadTimeSample]) -> None:
    empty = LeadTimeSample(supplier=supplier, day=utc_day(unit.at_ms))
    unit.upsert(add(unit.state.lead_time_samples.get(f"{supplier}/{empty.day}", empty)))


def record_supplier_price(unit: UnitOfWork, command: commands.RecordPrice) -> None:
    """Puts the price in force."""
    unit.upsert(record_price(unit.view.supplier_record(command.supplier), command.price, command.at_ms))
    unit.invalidate_quotes()


def record_lead_time(unit: UnitOfWork, command: commands.RecordLeadTime) -> None:
    """Puts the lead times in force, and learns anew."""
    record = replace(unit.view.supplier_record(command.supplier), lead_days=command.lead_days)
    unit.upsert(restart_learning(record, command.stated_ms, unit.at_ms))
    unit.invalidate_quotes()


def drop_terms(unit: UnitOfWork, command: commands.DropTerms) -> None:
    """Drops what was stated by event, where anything was, and learns anew where lead times changed."""
    record = unit.state.suppliers.get(command.supplier)
    if record is not None:
        unit.upsert(replace(record, price=None, lead_days=None))
    if command.stated_ms is not None:
        unit.upsert(restart_learning(unit.view.supplier_record(command.supplier), command.stated_ms, unit.at_ms))
    unit.invalidate_quotes()


def activate_learned(unit: UnitOfWork, command: commands.ActivateLearned) -> None:
    """Puts what was learned in force."""
    unit.upsert(replace(unit.view.supplier_record(command.supplier), learned=command.learned))
    unit.invalidate_quotes()


def compact_samples(unit: UnitOfWork, command: commands.CompactSamples) -> None:
    """Deletes the samples and keeps the merged one."""
    for sample in command.deleted:
        unit.delete(sample)
    if command.merged is not None:
        unit.upsert(command.merged)


def expect_refill(unit: UnitOfWork, command: commands.ExpectRefill) -> None:
    """Keeps the quantity declared, and when."""
    record = unit.view.item_record(command.item)
    unit.upsert(replace(record, declared_ms=unit.at_ms, declared=command.quantity))


def clear_expected_refill(unit: UnitOfWork, command: commands.ClearExpectedRefill) -> None:
    """Drops the quantity declared."""
    unit.upsert(replace(unit.view.item_record(command.item), declared_ms=None, declared=0.0))


def record_feedback(unit: UnitOfWork, command: commands.RecordFeedback) -> None:
    """Shifts the timing of the item's later reactions."""
    unit.upsert(apply_feedback(unit.view.item_record(command.item), command.timing))


def replace_catalogue(unit: UnitOfWork, command: commands.ReplaceCatalogue) -> None:
    """Puts the fleet in force, and keeps the changed rows."""
    unit.replace_catalogue(command.catalogue)
    for override in command.overrides:
        unit.upsert(override)


def record_outcome(unit: UnitOfWork, command: commands.RecordOutcome) -> None:
    """Adds the outcome to the step's result."""
    unit.outcomes.append((command.reaction, command.outcome))


def report_unmatched(unit: UnitOfWork, command: commands.ReportUnmatched) -> None:
    """Adds the sentence to the step's result."""
    unit.unmatched.append(command.text)
