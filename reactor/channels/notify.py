"""The channel to people: any Apprise URL (e-mail, SMS, chat and about a hundred other services).

The text is the reaction's own sentence with a link to the console; nothing is composed or decided here. A URL holds
secrets, so errors name its scheme only.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import apprise

from config.fleet import Customer
from reactor.channels.base import ANY_SCHEME, ChannelEnvironment, address_scheme
from reactor.i18n import contact_link, contact_title
from star.errors import InputError, Unavailable
from star.react import Reaction


class NotifyChannel:
    """Sends contacts to customers.

    customer_of, label_of, console_url: as in ChannelEnvironment. Without a console_url the text has no link.
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

    async def send(self, reaction: Reaction, address: str) -> None:
        """Returns when the service behind the URL has accepted it. Raises Unavailable, InputError for no Apprise URL."""
        customer = self._customer_of(reaction.customer)
        if customer is None:
            raise InputError(f"{reaction.id}: customer {reaction.customer!r} is not in the fleet any more")
        service = apprise.Apprise()
        if not service.add(address):
            raise InputError(f"a channel of {customer.id} is no Apprise URL: {address_scheme(address)[:20]}")
        title, body = self.compose(reaction, customer)
        if not await service.async_notify(body=body, title=title, body_format=apprise.NotifyFormat.TEXT):
            raise Unavailable(f"a channel of {customer.id} did not accept it: {address_scheme(address)[:20]}")

    async def close(self) -> None:
        """Nothing is held between messages."""

    def compose(self, reaction: Reaction, customer: Customer) -> tuple[str, str]:
        """Title and body of a contact, in the customer's language."""
        language = customer.language
        title = contact_title(reaction.type, self._label_of(f"{reaction.device}/{reaction.item}", language), language)
        if self._console_url is None:
            return title, reaction.because
        item = f"items/{quote(reaction.device, safe='')}/{quote(reaction.item, safe='')}"
        link = contact_link(f"{self._console_url.rstrip('/')}/{item}", language)
        return title, f"{reaction.because}\n\n{link}"


class NotifyKind:
    """The plug-in `notify`: every customers' channel that no other plug-in serves."""

    endpoint_schemes: frozenset[str] = frozenset()
    contact_schemes = frozenset({ANY_SCHEME})

    def open(self, environment: ChannelEnvironment) -> NotifyChannel:
        """A channel with the customers and labels of the fleet in force."""
        return NotifyChannel(environment.customer_of, environment.label_of, console_url=environment.console_url)
