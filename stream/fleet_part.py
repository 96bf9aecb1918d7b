"""The fleet as one partition sees it: its own customers and devices, and how changes in its log altered them.

The fleet at the beginning of the log is given; every change since is kept with its offset in a block of the checkpoint, so
that a partition knows its fleet wherever it moves.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from config.change import apply_checked, parse_change
from config.resolve import Catalogue

FLEET = "fleet"
"""The key of the block that holds the changes."""
CATALOGUES_MAX = 8
"""Catalogues remembered, so that the partitions of a process that take the same change work it out once."""


class FleetPart:
    """The fleet at the beginning (`base`), the changes since, and the part that is `mine` (by customer; None: all)."""

    def __init__(self, base: Catalogue, mine: Callable[[str], bool] | None) -> None:
        self._base = base
        self._mine = mine
        self._whole = _Known(base)
        self._changes: list[tuple[int, str]] = []
        self._dirty = False

    @property
    def part(self) -> Catalogue:
        """What is in force for this partition."""
        return part_of(self._whole.catalogue, self._mine)

    def change(self, offset: int, tables: str) -> Catalogue:
        """The part after the change at `offset`, which was checked before it was appended."""
        self._whole = _changed(self._whole, tables)
        self._changes.append((offset, tables))
        self._dirty = True
        return self.part

    def take_dirty(self) -> bytes | None:
        """The block, where a change came since the last call."""
        if not self._dirty:
            return None
        self._dirty = False
        return json.dumps(self._changes, ensure_ascii=False).encode()

    def restored(self, block: bytes | None, included: int) -> Catalogue:
        """The part after the changes of `block` up to offset `included`; later ones come again from the log."""
        kept = [(int(offset), str(tables)) for offset, tables in (json.loads(block) if block else [])]
        self._whole = _Known(self._base)
        self._changes = []
        for offset, tables in kept:
            if offset <= included:
                self.change(offset, tables)
        self._dirty = False
        return self.part


class _Known:
    """A catalogue that is compared by being the same object, which makes remembering cheap."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def __hash__(self) -> int:
        return id(self.catalogue)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and other.catalogue is self.catalogue


@lru_cache(maxsize=CATALOGUES_MAX)
def _changed(known: _Known, tables: str) -> _Known:
    catalogue = known.catalogue
    return _Known(apply_checked(catalogue, parse_change(tables), catalogue.profiles))


def part_of(catalogue: Catalogue, mine: Callable[[str], bool] | None) -> Catalogue:
    """The catalogue with only the customers for whom `mine` holds, their devices and items."""
    if mine is None:
        return catalogue
    customers = {key: row for key, row in catalogue.customers.items() if mine(key)}
    return replace(
        catalogue,
        customers=customers,
        devices={key: row for key, row in catalogue.devices.items() if row.customer in customers},
        slots={key: row for key, row in catalogue.slots.items() if row.customer in customers},
        parts={key: row for key, row in catalogue.parts.items() if row.customer in customers},
    )
