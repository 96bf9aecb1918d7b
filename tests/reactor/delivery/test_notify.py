"""Contacts to customers through Apprise, against a real HTTP server on loopback."""

from __future__ import annotations

import json

import pytest

from config.fleet import Customer
from reactor.channels.notify import NotifyChannel
from reactor.delivery import channel_router
from reactor.delivery.channel_router import ChannelRouter, ChannelTable
from star.errors import InputError, Unavailable
from star.react import ReactionType
from tests.support.delivery_fleet import customer_lookup, fleet_of, reaction_of, router_of
from tests.support.supplier_server import SupplierServer, serving

LABELS = {"en": "heating oil", "fr": "fioul"}


def channel_of(*urls: str, language: str = "en", console_url: str | None = None) -> NotifyChannel:
    """The channel of a fleet whose customer has these channels."""
    catalogue = fleet_of(channels=urls, language=language)
    return NotifyChannel(customer_lookup(catalogue), lambda _, tongue: LABELS[tongue], console_url=console_url)


async def send_to_maria(*urls: str, kind: ReactionType = ReactionType.OFFER_MADE, customer: str = "maria") -> None:
    """Routes a contact to a customer with these channels."""
    router = router_of(fleet_of(channels=urls), notify=channel_of(*urls))
    await router.send(reaction_of(kind, customer=customer), f"customer:{customer}")


def phone(server: SupplierServer) -> str:
    """The Apprise URL of a server on loopback."""
    return server.url.replace("http://", "json://")


async def test_a_customer_reads_one_sentence_and_where_to_answer() -> None:
    """The title is in their language, the body is the reaction's sentence with the console's link."""
    async with serving(SupplierServer(answers=[(200, {})])) as server:
        channel = channel_of("mqtt", phone(server), language="fr", console_url="https://home.example")
        offer = reaction_of(ReactionType.OFFER_MADE, because="Votre fioul dure encore 6 jours.")
        await channel.send(offer, phone(server))
    said = json.loads(server.calls[0].body)
    assert said["title"] == "Une offre : fioul"
    assert said["message"] == (
        "Votre fioul dure encore 6 jours.\n\nRépondre ici : https://home.example/items/tank-7/oil"
    )


async def test_without_a_console_to_reach_no_link_is_given() -> None:
    """The body is the sentence alone."""
    async with serving(SupplierServer(answers=[(200, {})])) as server:
        await channel_of(phone(server)).send(reaction_of(ReactionType.REMINDER_SENT), phone(server))
    said = json.loads(server.calls[0].body)
    assert (said["title"], said["message"]) == ("A reminder: heating oil", reaction_of().because)


async def test_the_first_channel_that_accepts_it_completes_the_delivery() -> None:
    """The best channel is tried first, the next one only because it failed, the third not at all."""
    async with (
        serving(SupplierServer(answers=[(500, {})])) as best,
        serving(SupplierServer(answers=[(200, {})])) as second,
        serving(SupplierServer()) as third,
    ):
        await send_to_maria(phone(best), phone(second), phone(third), kind=ReactionType.ADVICE_GIVEN)
    assert [len(server.calls) for server in (best, second, third)] == [1, 1, 0]


async def test_when_no_channel_accepts_it_there_is_a_retry_and_no_secret_in_the_error() -> None:
    """Apprise URLs hold passwords: only the scheme is named."""
    async with serving(SupplierServer(answers=[(500, {})])) as server:
        url = phone(server).replace("json://", "json://maria:hunter2@")
        with pytest.raises(Unavailable, match="none of maria's channels took it: json") as caught:
            await send_to_maria(url)
    assert "hunter2" not in str(caught.value)


async def test_a_channel_that_hangs_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt at a channel has a time limit."""
    monkeypatch.setattr(channel_router, "CONTACT_TIMEOUT_S", 0.2)
    async with serving(SupplierServer(slow_s=0.8)) as hanging, serving(SupplierServer(answers=[(200, {})])) as second:
        await send_to_maria(phone(hanging), phone(second))
    assert len(second.calls) == 1


async def test_channels_that_are_no_apprise_urls_end_with_a_reason() -> None:
    """No retry would help; the reason names the scheme."""
    maria = Customer.model_construct(id="maria", language="en", channels=("json://",))
    channel = NotifyChannel(lambda _: maria, lambda item, _: item)
    with pytest.raises(InputError, match="is no Apprise URL: json"):
        await channel.send(reaction_of(ReactionType.OFFER_MADE), "json://")
    router = ChannelRouter(
        ChannelTable(contacts={"*": channel}), supplier_of=lambda _: None, customer_of=lambda _: maria
    )
    with pytest.raises(InputError, match="maria's channels can't be used, or refuse it: json"):
        await router.send(reaction_of(ReactionType.OFFER_MADE), "customer:maria")


async def test_a_customer_who_left_or_took_their_channels_away_is_not_contacted() -> None:
    """Their choice applies at once, also to what was waiting."""
    with pytest.raises(InputError, match="no channel to be reached on any more"):
        await send_to_maria("mqtt")
    with pytest.raises(InputError, match="'gone' has no channel"):
        await send_to_maria("json://127.0.0.1", customer="gone")
