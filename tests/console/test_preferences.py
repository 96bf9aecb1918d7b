"""Preferences: what a customer chooses is written whole, in force at once, and a mistake changes nothing."""

from __future__ import annotations

import html
import re

import httpx
import pytest

from config.fleet import Experience
from console.texts import texts
from tests.support.console.fake_backend import FakeBackend


def fields(page: str) -> list[tuple[str, str]]:
    """The form's fields as a browser would send them back unchanged."""
    form = page[page.index('class="stack"') : page.rindex("</form>")]
    found: list[tuple[str, str]] = []
    for tag in re.findall(r"<input[^>]*>", form):
        at = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if at.get("type") in ("radio", "checkbox") and " checked" not in tag:
            continue
        found.append((html.unescape(at["name"]), html.unescape(at.get("value", "on"))))
    for name, body in re.findall(r'<select name="([^"]+)">(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'value="([^"]+)"(?: lang="\w+")? selected', body)
        assert chosen is not None, name
        found.append((html.unescape(name), chosen[1]))
    for name, body in re.findall(r'<textarea name="([^"]+)"[^>]*>(.*?)</textarea>', form, re.DOTALL):
        found.append((name, html.unescape(body)))
    return found


async def sent(client: httpx.AsyncClient, customer: str, **changes: object) -> httpx.Response:
    """The form of `customer` sent with changes: None takes a field out, a list gives it several times."""
    pairs = fields((await client.get(f"/preferences/{customer}")).text)
    data: dict[str, list[str]] = {}
    for name, value in pairs:
        data.setdefault(name, []).append(value)
    for name, value in changes.items():
        name = name.replace("__", "/").replace("item_", "item:")
        if value is None:
            data.pop(name, None)
        else:
            data[name] = [str(one) for one in value] if isinstance(value, list) else [str(value)]
    return await client.post(f"/preferences/{customer}", data=data)


async def test_saving_without_a_change_changes_nothing(maria: httpx.AsyncClient, world: FakeBackend) -> None:
    """What the form shows is what is in force: sent back as it is, every choice stays."""
    before = world.catalogue().customers["maria"]
    answer = await sent(maria, "maria")
    assert answer.status_code == 200
    assert world.catalogue().customers["maria"].model_dump() == before.model_dump()
    assert [kind for kind, _ in world.submissions] == ["fleet"]
    assert "devices" not in world.submissions[0][1]


async def test_a_customers_choices_are_in_force_at_once(maria: httpx.AsyncClient, world: FakeBackend) -> None:
    """All of them: the next page shows what was chosen."""
    answer = await sent(
        maria,
        "maria",
        language="en",
        timezone="Europe/London",
        quiet_from="",
        quiet_to="",
        contacts="7",
        budget="1 250,50",
        channels="ntfy://push.example/maria\n\nmqtt",
        consent_maintenance=None,
        away_from=["2026-08-01", "2026-12-20"],
        away_to=["2026-08-10", "2027-01-03"],
    )
    assert texts("en")("prefs.saved") in answer.text
    customer = world.catalogue().customers["maria"]
    assert (customer.language, customer.timezone, customer.quiet_hours) == ("en", "Europe/London", None)
    assert (customer.contacts_per_week_max, customer.budget_per_month) == (7, 1250.5)
    assert customer.channels == ("ntfy://push.example/maria", "mqtt")
    assert customer.consents == ("replenishment",)
    assert customer.away == (("2026-08-01", "2026-08-10"), ("2026-12-20", "2027-01-03"))
    assert customer.experience is Experience.AUTO


async def test_an_item_may_be_allowed_less(maria: httpx.AsyncClient, world: FakeBackend) -> None:
    """Only that item changes; the rest of its device stays as it was."""
    before = world.catalogue().devices["tank-7"].slots["oil"]
    await sent(maria, "maria", **{"item_tank-7__oil": "coach"})
    after = world.catalogue().devices["tank-7"].slots["oil"]
    assert after.experience is Experience.COACH
    assert after.model_copy(update={"experience": None}) == before
    await sent(maria, "maria", **{"item_tank-7__oil": "same"})
    assert world.catalogue().devices["tank-7"].slots["oil"].experience is None


async def test_delegating_less_lowers_the_items_too(maria: httpx.AsyncClient, world: FakeBackend) -> None:
    """An item that was allowed more than the new choice follows it, and the page says which."""
    await sent(maria, "maria", **{"item_tank-7__oil": "coach"})
    answer = await sent(maria, "maria", experience="respond")
    assert (
        "Fioul"
        in answer.text[answer.text.index("flash") : answer.text.index('<form method="post" action="/preferences')]
    )
    catalogue = world.catalogue()
    assert {catalogue.slots[key].experience for key in ("tank-7/oil", "brew-1/beans")} == {Experience.RESPOND}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"quiet_from": ""}, "heures calmes"),
        ({"contacts": "many"}, "many"),
        ({"budget": "-5"}, "-5"),
        ({"away_from": ["2026-08-21"], "away_to": ["2026-08-01"]}, "2026-08-21"),
        ({"away_from": ["2026-08-21"], "away_to": [""]}, "deux jours"),
        ({"channels": "no such channel"}, "channels"),
    ],
)
async def test_a_mistake_is_shown_and_changes_nothing(
    maria: httpx.AsyncClient, world: FakeBackend, changes: dict[str, object], said: str
) -> None:
    """The form comes back with what was typed and one sentence a mistake."""
    before = world.catalogue()
    answer = await sent(maria, "maria", **changes)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert said in html.unescape(answer.text)
    assert world.catalogue() is before


async def test_a_form_that_is_older_than_the_fleet_is_not_saved_over_it(
    maria: httpx.AsyncClient, world: FakeBackend
) -> None:
    """Someone changed the customer meanwhile: the form shows what is in force now."""
    old = dict(fields((await maria.get("/preferences/maria")).text))
    await world.submit_fleet_change({"customers": [{"id": "maria", "contacts_per_week_max": 1}]})
    answer = await maria.post("/preferences/maria", data=old)
    assert answer.status_code == 409
    assert world.catalogue().customers["maria"].contacts_per_week_max == 1


async def test_an_operator_chooses_whose_preferences_and_a_customer_has_their_own(
    owner: httpx.AsyncClient, app: object, maria: httpx.AsyncClient
) -> None:
    """A list for one, straight to the form for the other."""
    page = (await owner.get("/preferences")).text
    assert all(name in page for name in ("Maria Duval", "Harbour Office", "tom"))
    assert "Harbour" in (await owner.get("/preferences?q=harb")).text
    assert (await maria.get("/preferences")).headers["location"] == "/preferences/maria"
