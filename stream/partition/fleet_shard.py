"""The fleet of one partition: its own customers, devices and items, with the changes that its log holds.

The fleet at the beginning of the log is given. Every change since is kept with its offset in a shard of the checkpoint, so that
a partition has its fleet on whichever worker it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from config.catalogue import Catalogue
from config.fleet_change import change_catalogue, parse_change

FLEET_SHARD_KEY = "fleet"
"""Key of the shard that holds the changes."""
CATALOGUES_MAX = 8
"""Catalogues remembered, so that the partitions of a process resolve a change once for all."""


class FleetShard:
    """The catalogue in force for a partition. base: at the beginning of the log; owns_customer: whose it is; None: all."""

    def __init__(self, base: Catalogue, owns_customer: Callable[[str], bool] | None) -> None:
        self._base = base
        self._owns_customer = owns_customer
        self._whole = _CatalogueIdentity(base)
        self._changes: list[tuple[int, str]] = []
        self._dirty = False

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue in force for this partition."""
        return catalogue_shard(self._whole.catalogue, self._owns_customer)

    def apply_change(self, offset: int, tables: str) -> Catalogue:
        """The catalogue after the change at `offset`, which was validated before it was appended."""
        self._whole = _apply_change(self._whole, tables)
        self._changes.append((offset, tables))
        self._dirty = True
        return self.catalogue

    def drain_dirty(self) -> bytes | None:
        """The shard's bytes where there was a change since the last call, else None."""
        if not self._dirty:
            return None
        self._dirty = False
        return json.dumps(self._changes, ensure_ascii=False).encode()

    def restore(self, shard: bytes | None, included: int) -> Catalogue:
        """The catalogue after the changes of a shard up to offset `included`; later ones come again from the log."""
        kept = [(int(offset), str(tables)) for offset, tables in (json.loads(shard) if shard else [])]
        self._whole = _CatalogueIdentity(self._base)
        self._changes = []
        for offset, tables in kept:
            if offset <= included:
                self.apply_change(offset, tables)
        self._dirty = False
        return self.catalogue


class _CatalogueIdentity:
    """A catalogue that is hashed and compared by identity, which makes it a cheap cache key."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def __hash__(self) -> int:
        return id(self.catalogue)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _CatalogueIdentity) and other.catalogue is self.catalogue


@lru_cache(maxsize=CATALOGUES_MAX)
def _apply_change(known: _CatalogueIdentity, tables: str) -> _CatalogueIdentity:
    catalogue = known.catalogue
    return _CatalogueIdentity(change_catalogue(catalogue, parse_change(tables), catalogue.profiles))


def catalogue_shard(catalogue: Catalogue, owns_customer: Callable[[str], bool] | None) -> Catalogue:
    """The catalogue of the customers for whom `owns_customer` holds, with their devices and items; None: all of it."""
    if owns_customer is None:
        return catalogue
    customers = {key: row for key, row in catalogue.customers.items() if owns_customer(key)}
    return replace(
        catalogue,
        customers=customers,
        devices={key: row for key, row in catalogue.devices.items() if row.customer in customers},
        slots={key: row for key, row in catalogue.slots.items() if row.customer in customers},
        parts={key: row for key, row in catalogue.parts.items() if row.customer in customers},
    )
