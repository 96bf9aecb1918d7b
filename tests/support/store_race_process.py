"""A process that takes part in a race for a store: python -m … racer_process WHAT URL; it begins when a line comes in.

reactor: takes the year's facts, and loads again whenever it is fenced off. names: adds names that the others add too.
"""

from __future__ import annotations

import random
import sys

from reactor.engine import Engine
from reactor.store import SqlStore
from star.analyse import Facts
from star.errors import StoreFenced
from tests.support.household import Household, catalogue_of, household_of

NEEDS = 25
NAMES = 400


def lived_year() -> Household:
    """A home that runs low again and again: an order each time, a delivery, days of nothing in between."""
    home = household_of()
    for cycle in range(1, NEEDS + 1):
        home.passes(days=3).tick()
        home.passes(hours=1).sees(6.0).tick()
        home.passes(hours=1).tick()
        home.passes(days=3).says(f"tank-7/oil/{cycle}/order/1", "delivered").rises(500.0).tick()
    return home


def race_reactor(store: SqlStore) -> None:
    """Consumes the facts, whoever else does; says how often it was fenced off, and what it decided itself."""
    facts: list[Facts] = lived_year().facts
    fenced, decided = 0, 0
    engine = Engine(catalogue_of(), store.load())
    while engine.state.offset < facts[-1].offset:
        step = engine.step(next(one for one in facts if one.offset > engine.state.offset))
        try:
            store.commit(step, engine.catalogue)
            if step.is_empty:
                store.flush()
            decided += len(step.reactions)
        except StoreFenced:
            fenced += 1
            engine = Engine(catalogue_of(), store.load())
    print(fenced, decided)


def race_names(store: SqlStore) -> None:
    """Adds the same names as the others, in an order of its own, one by one and some together."""
    names = [f"tank-{number}/oil" for number in range(NAMES)]
    random.shuffle(names)
    while names:
        store.names.add([names.pop() for _ in range(min(random.randrange(1, 9), len(names)))])
    print(len(store.names), 0)


if __name__ == "__main__":
    what, url = sys.argv[1:]
    if what == "open":
        print("ready", flush=True)
        sys.stdin.readline()
        SqlStore(url).close()
        print(0, 0)
    else:
        with SqlStore(url) as opened:
            print("ready", flush=True)
            sys.stdin.readline()
            {"reactor": race_reactor, "names": race_names}[what](opened)
