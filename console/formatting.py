"""Formatting of numbers, quantities, dates and durations for a language and time zone, by Babel. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, dates, numbers, units

from console.texts import texts
from star.analyse import DAYS_MAX
from star.times import utc

_LOCALES = {"en": "en_GB", "fr": "fr_FR"}


class Formatter:
    """Formats of one language and time zone; an unknown zone is UTC."""

    def __init__(self, language: str, timezone: str = "UTC") -> None:
        self.language = language
        self.texts = texts(language)
        self._locale = Locale.parse(_LOCALES[language])
        try:
            self._zone: tzinfo = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError):
            self._zone = ZoneInfo("UTC")

    def number(self, value: float, decimals: int = 1) -> str:
        """At most `decimals` decimals, none where they are zero or the number is large."""
        if abs(value) >= 100:
            decimals = 0
        pattern = "#,##0" + ("." + "#" * decimals if decimals else "")
        return numbers.format_decimal(value, format=pattern, locale=self._locale)

    def money(self, value: float) -> str:
        """An amount in the fleet's currency, which has no symbol: two decimals."""
        return numbers.format_decimal(value, format="#,##0.00", locale=self._locale)

    def percent(self, share: float, decimals: int = 0) -> str:
        """0.218 as 22 %, with a narrow no-break space before the sign in both languages."""
        pattern = "#,##0" + ("." + "0" * decimals if decimals else "")
        return numbers.format_decimal(share * 100, format=pattern, locale=self._locale) + "\u202f%"

    def quantity(self, value: float, unit: str) -> str:
        """A quantity with its unit, translated where there is a text for it."""
        shown = self.number(value)
        if not unit:
            return shown
        return f"{shown}\u202f%" if unit == "%" else f"{shown}\u00a0{self.unit(unit)}"

    def unit(self, unit: str) -> str:
        """The unit, translated where there is a text for it."""
        return self.texts.get(f"units.{unit}", unit)

    def days(self, days: float) -> str:
        """A duration: hours below a day, then days, then years."""
        if days >= DAYS_MAX:
            return self.texts("time.ten_years")
        if days < 1:
            return self._unit(max(1, round(days * 24)), "hour")
        if days < 10:
            return self._unit(round(days, 1), "day")
        if days < 730:
            return self._unit(round(days), "day")
        return self._unit(round(days / 365.25, 1), "year")

    def range_days(self, low: float, high: float) -> str:
        """A range of durations: 4–10 days, or hours or years where it is very short or long."""
        if high >= DAYS_MAX:
            return self.texts("time.over", days=self.days(low)) if low < DAYS_MAX else self.days(low)
        if high < 1:
            return self._range(low * 24, high * 24, "hour")
        if low >= 730:
            return self._range(low / 365.25, high / 365.25, "year")
        return self._range(low, high, "day")

    def range_without_unit(self, low: float, high: float) -> str:
        """A range of durations for beside a number of days: without the unit where it is days too."""
        if high >= DAYS_MAX or high < 1 or low >= 730:
            return self.range_days(low, high)
        return self._span(low, high)

    def _range(self, low: float, high: float, unit: str) -> str:
        last = self._ends(low, high)[1]
        return self._span(low, high) + self._unit(last, unit).removeprefix(self._plain(last))

    def _span(self, low: float, high: float) -> str:
        first, last = self._ends(low, high)
        return self.number(first) if first == last else f"{self.number(first)}\u2013{self.number(last)}"

    @staticmethod
    def _ends(low: float, high: float) -> tuple[float, float]:
        """Both ends as integers, or with one decimal where they would be equal."""
        if high < 10 and round(low) == round(high):
            return round(low, 1), round(high, 1)
        return round(low), round(high)

    def _unit(self, value: float, unit: str) -> str:
        return units.format_unit(value, unit, length="long", format="#,##0.#", locale=self._locale)

    def _plain(self, value: float) -> str:
        return numbers.format_decimal(value, format="#,##0.#", locale=self._locale)

    def date(self, at_ms: int) -> str:
        """A short date without the year: 24 Nov."""
        return dates.format_skeleton("MMMd", self.local(at_ms), locale=self._locale)

    def clock(self, at_ms: int) -> str:
        """The time of day: 14:05."""
        return dates.format_time(self.local(at_ms), "HH:mm", locale=self._locale)

    def moment(self, at_ms: int) -> str:
        """Date with year, and time, in the zone."""
        return dates.format_datetime(self.local(at_ms), "d MMM y, HH:mm", locale=self._locale)

    def day(self, text: str) -> str:
        """A day such as 2026-08-01, with month and year in words."""
        return dates.format_date(datetime.fromisoformat(text).date(), "d MMM y", locale=self._locale)

    def iso(self, at_ms: int) -> str:
        """The moment in RFC 3339, for the `datetime` of a <time> element."""
        return utc(at_ms).isoformat(timespec="seconds").replace("+00:00", "Z")

    def ago(self, at_ms: int, now_ms: int) -> str:
        """The moment relative to now: 3 hours ago, in 2 days, just now."""
        delta_s = (at_ms - now_ms) / 1000
        if abs(delta_s) < 60:
            return self.texts("time.now")
        return dates.format_timedelta(
            timedelta(seconds=delta_s), add_direction=True, locale=self._locale, threshold=1.2
        )

    def local(self, at_ms: int) -> datetime:
        return utc(at_ms).astimezone(self._zone)
