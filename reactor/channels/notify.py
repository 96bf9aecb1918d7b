"""Contacts to people, over the channels that they named: any Apprise URL, best first; the first that takes it ends it.

What is said is the reaction's own sentence, and where to answer; nothing is composed or decided here. A channel's URL
holds secrets, so errors name a channel by its kind only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import quote

import apprise

from config.fleet import Customer
from reactor.delivery.routes import pushed_channels
from star.errors import InputError, Unavailable
from star.react import Reaction, ReactionType

CHANNEL_TIMEOUT_S = 30.0
"""How long one channel may take before the next one is tried."""

TITLES: dict[str, dict[ReactionType, str]] = {
    "en": {
        ReactionType.OFFER_MADE: "An offer",
        ReactionType.REMINDER_SENT: "A reminder",
        ReactionType.ADVICE_GIVEN: "Some advice",
        ReactionType.MAINTENANCE_BOOKED: "A service is booked",
    },
    "fr": {
        ReactionType.OFFER_MADE: "Une offre",
        ReactionType.REMINDER_SENT: "Un rappel",
        ReactionType.ADVICE_GIVEN: "Un conseil",
        ReactionType.MAINTENANCE_BOOKED: "Un entretien est réservé",
    },
}
"""By language: what each kind of contact is called."""
_ANSWER_LABEL = {"en": "Answer here:", "fr": "Répondre ici :"}
_COLON = {"en": ": ", "fr": " : "}


class NotifyChannel:
    """Sends contacts to customers.

    customer_of: the customer as the fleet has them now. label_of: what the customer calls an item, from (device/name,
    language). console_url: where the console is reached from outside, or None: then no link is given.
    """

    def __init__(
        self,
        customer_of: Callable[[str], Customer | None],
        label_of: Callable[[str, str], str],
        *,
        console_url: str | None = None,
    ) -> None:
        self._customer_of = customer_of
        self._label_of = label_of
        self._console_url = console_url

    async def send(self, reaction: Reaction) -> None:
        """Returns when one channel has taken it. Raises Unavailable for another try, InputError where none would help."""
        customer = self._customer_of(reaction.customer)
        channels = () if customer is None else pushed_channels(customer)
        if customer is None or not channels:
            raise InputError(f"{reaction.id}: customer {reaction.customer!r} has no channel to be reached on any more")
        title, body = self.compose(reaction, customer)
        failed: list[str] = []
        unreadable: list[str] = []
        for channel in channels:
            person = apprise.Apprise()
            if not person.add(channel):
                unreadable.append(_url_scheme(channel))
            elif await _notify_within_timeout(person, title, body):
                return
            else:
                failed.append(_url_scheme(channel))
        if failed:
            raise Unavailable(f"none of {customer.id}'s channels took it: {', '.join(failed)}")
        raise InputError(f"{customer.id}'s channels are no Apprise URLs: {', '.join(unreadable)}")

    def compose(self, reaction: Reaction, customer: Customer) -> tuple[str, str]:
        """The title and the body of a contact, in the customer's language."""
        language = customer.language
        label = self._label_of(f"{reaction.device}/{reaction.item}", language)
        title = f"{TITLES[language].get(reaction.type, 'Starloop')}{_COLON[language]}{label}"
        if self._console_url is None:
            return title, reaction.because
        link = (
            f"{self._console_url.rstrip('/')}/items/{quote(reaction.device, safe='')}/{quote(reaction.item, safe='')}"
        )
        return title, f"{reaction.because}\n\n{_ANSWER_LABEL[language]} {link}"


async def _notify_within_timeout(person: apprise.Apprise, title: str, body: str) -> bool:
    try:
        async with asyncio.timeout(CHANNEL_TIMEOUT_S):
            return bool(await person.async_notify(body=body, title=title, body_format=apprise.NotifyFormat.TEXT))
    except TimeoutError:
        return False


def _url_scheme(channel: str) -> str:
    return channel.partition(":")[0][:20]
