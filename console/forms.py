"""Fields of forms: texts as people type them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

AMOUNT_END = 1e12
"""Amounts and quantities of this size or larger are typing mistakes."""


def form_reader(form: Mapping[str, Any]) -> Callable[[str], str]:
    """A reader of text fields: stripped, and empty for a field that is missing or a file."""

    def value(name: str) -> str:
        given = form.get(name)
        return given.strip() if isinstance(given, str) else ""

    return value


def parse_amount(text: str) -> float:
    """An amount or a quantity, with a decimal comma or point and any grouping spaces. Raises ValueError where it is none."""
    amount = float(text.replace("\u202f", "").replace(" ", "").replace(",", "."))
    if not 0 <= amount < AMOUNT_END:
        raise ValueError(f"{text!r} is not in the range of amounts: expected 0 to below {AMOUNT_END:g}")
    return amount
