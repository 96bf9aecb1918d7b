"""Field names on the wire that come from dataclasses: a renamed field would break every reader of the topic."""

from __future__ import annotations

import orjson

from star.analyse import QUANTILES, CalibrationOutcome, Forecast


def test_the_topics_of_forecasts_keep_their_field_names() -> None:
    """The names that the topics `forecasts` and `honesty` had at 6a71ff1."""
    forecast = Forecast(
        item="a/b",
        at_ms=1,
        level=1.0,
        days=tuple(float(number) for number in range(len(QUANTILES))),
        rate_per_day=1.0,
        trust=1.0,
        model="m@1:0",
        readings=1,
        reading_ms=1,
        reading=1.0,
    )
    names = ["item", "at_ms", "level", "days", "rate_per_day", "trust", "model", "readings", "reading_ms", "reading"]
    assert list(orjson.loads(orjson.dumps(forecast)))[: len(names)] == names
    outcome = CalibrationOutcome(item="a/b", at_ms=1, level=0.5)
    assert orjson.loads(orjson.dumps(outcome)) == {"item": "a/b", "at_ms": 1, "level": 0.5}
