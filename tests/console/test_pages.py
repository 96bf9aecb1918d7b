"""The pages: what they show, to whom, and what the forms on them say to the service."""

from __future__ import annotations

import re

import httpx
import pytest

from console.texts import texts
from tests.support.console.fake_backend import FakeBackend

FIRST_PAGES_BYTES_MAX = 40_000


async def test_the_fleet_shows_every_item_by_customer(owner: httpx.AsyncClient) -> None:
    """Items under their customer's name, with level, time to empty, trust and mode; a name is never markup."""
    page = (await owner.get("/")).text
    assert (
        page.index("Harbour Office") < page.index("Black ink") < page.index("Maria Duval") < page.index("Heating oil")
    )
    for shown in ("62.0\u202f%", "28 days", "16–50", "94\u202f%", "no reading yet", "Soap&lt;b&gt;5l"):
        assert shown in page
    assert "<b>5l" not in page


async def test_the_cards_count_what_the_table_shows(owner: httpx.AsyncClient) -> None:
    """Each card leads to its rows."""
    page = (await owner.get("/")).text
    assert [int(number) for number in re.findall(r"<b[^>]*>(\d+)</b></a>", page)] == [12, 4, 3]
    asking = (await owner.get("/?show=needs")).text
    assert asking.count('class="chip ask"') == 3
    assert "Heating oil" not in asking
    below = (await owner.get("/?show=below")).text
    assert "Paper towels" in below
    assert "Cyan ink" not in below


@pytest.mark.parametrize(
    ("query", "found"), [("oil maria", ["Heating oil"]), ("inkjet cyan", ["Cyan ink"]), ("zzz", [])]
)
async def test_an_operator_finds_an_item_by_words(owner: httpx.AsyncClient, query: str, found: list[str]) -> None:
    """By its name, its device and its customer, in any order; what was looked for is said back as text."""
    page = (await owner.get("/", params={"q": query})).text
    assert re.findall(r'class="title" href="[^"]+">([^<]+)<', page) == found
    assert "&lt;i&gt;" in (await owner.get("/", params={"q": "<i>"})).text


async def test_a_long_fleet_comes_in_pages(owner: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five rows a page here: three pages, and a page beyond the last is the last."""
    monkeypatch.setattr("console.pages.fleet.ROWS_PER_PAGE", 5)
    assert "Page 1 of 3" in (await owner.get("/")).text
    last = (await owner.get("/?at=99")).text
    assert "Page 3 of 3" in last
    assert last.count('class="title"') == 2


async def test_an_item_page_shows_the_forecast_and_its_trust(owner: httpx.AsyncClient) -> None:
    """Figures, a chart with its table beside it, orders and deliveries as marks, and what happened with its why."""
    page = (await owner.get("/items/tank-7/oil?days=90")).text
    assert page.count('<svg class="chart"') == 2
    assert "mark-order" in page
    assert "mark-delivery" in page
    assert "Empty in 28 days, between 16 days and 50 days." in page
    assert '<a href="/why/tank-7/oil/2/order/1"' in page or "/why/tank-7/oil/" in page
    assert 'value="early"' in page


async def test_a_device_without_readings_has_a_page_too(owner: httpx.AsyncClient) -> None:
    """No forecast is said, not made up."""
    page = await owner.get("/items/inkjet-3/yellow")
    assert page.status_code == 200
    assert texts("en")("item.no_forecast") in page.text


async def test_a_customer_sees_their_own_things_and_nothing_of_others(maria: httpx.AsyncClient) -> None:
    """On lists, pages, fragments and receipts alike; what is not theirs is as if it did not exist."""
    home = (await maria.get("/")).text
    assert "Fioul" in home
    assert "Harbour" not in home
    assert "Encre" not in home
    events = (await maria.get("/reactions")).text
    assert "Black ink" not in events
    for path in (
        "/items/inkjet-3/black",
        "/items/inkjet-3/black?part=live",
        "/why/inkjet-3/black/2/request/1",
        "/why/inkjet-3/black/2",
        "/preferences/harbour",
        "/quarantine",
        "/items/no/such",
    ):
        answer = await maria.get(path)
        assert answer.status_code == 404, path
        assert "Harbour" not in answer.text


async def test_a_customer_cannot_answer_for_another(maria: httpx.AsyncClient, world: FakeBackend) -> None:
    """Neither answers, nor sayings, nor preferences."""
    answers = [
        await maria.post("/answers/inkjet-3/black/2/request/1", data={"result": "accepted"}),
        await maria.post("/items/inkjet-3/black/say", data={"what": "request", "once": "x"}),
        await maria.post("/preferences/harbour", data={"experience": "auto"}),
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert world.submissions == []


async def test_accepting_an_offer_sends_the_chosen_option_once(maria: httpx.AsyncClient, world: FakeBackend) -> None:
    """The form sent twice carries the same id, so that it counts once; the page then shows the order."""
    form = {"result": "accepted", "option": "1"}
    first = await maria.post("/answers/brew-1/beans/4/offer/1", data=form)
    await maria.post("/answers/brew-1/beans/4/offer/1", data=form)
    assert first.headers["location"] == "/items/brew-1/beans"
    outcomes = [said for kind, said in world.submissions if kind == "outcome"]
    assert (
        outcomes[0]
        == outcomes[1]
        == {
            "id": "console:brew-1/beans/4/offer/1:accepted",
            "reaction": "brew-1/beans/4/offer/1",
            "result": "accepted",
            "quantity": 300.0,
        }
    )
    page = (await maria.get("/items/brew-1/beans")).text
    assert texts("fr")("item.outstanding") in page
    assert texts("fr")("item.cancel") in page


async def test_an_order_can_be_cancelled_until_its_time_is_over(owner: httpx.AsyncClient, world: FakeBackend) -> None:
    """After cancel_before the page offers it no more."""
    assert 'value="cancelled"' in (await owner.get("/items/filter-2/filter")).text
    world.now += 20 * 3_600_000
    page = (await owner.get("/items/filter-2/filter")).text
    assert 'value="cancelled"' not in page
    assert texts("en")("item.cancel_over") in page


async def test_only_options_that_an_acceptance_can_name_are_offered(owner: httpx.AsyncClient) -> None:
    """It names the quantity: of two options with the same one the first stands, so nobody accepts what is not meant."""
    page = (await owner.get("/items/brew-1/beans")).text
    assert "24.00" in page
    assert "63.00" in page
    assert "19.50" not in page[: page.index("chart")]
    answer = await owner.post("/answers/brew-1/beans/4/offer/1", data={"result": "accepted", "option": "2"})
    assert answer.status_code == 400


async def test_a_booked_service_can_be_marked_done_or_cancelled(maria: httpx.AsyncClient, world: FakeBackend) -> None:
    """It is shown as under way until then."""
    page = (await maria.get("/items/tank-7/burner")).text
    assert texts("fr")("item.booked") in page
    await maria.post("/answers/tank-7/burner/1/booking/1", data={"result": "done"})
    assert world.submissions[0][1]["result"] == "done"


@pytest.mark.parametrize("timing", ["early", "right", "late"])
async def test_a_customer_reports_an_order_as_too_early_or_too_late(
    maria: httpx.AsyncClient, world: FakeBackend, timing: str
) -> None:
    """Said of the last delivered order, and shown as said."""
    order = next(shown for shown in world.reactions(item="tank-7/oil") if shown.result == "delivered").reaction.id
    await maria.post(f"/answers/{order}", data={"timing": timing, "once": "n1"})
    delivered_ms = world.reactions_by_id[order].result_ms
    assert delivered_ms is not None
    assert world.submissions == [
        (
            "outcome",
            {
                "id": f"console:n1:{order}",
                "reaction": order,
                "result": "delivered",
                "at": delivered_ms / 1000,
                "feedback": {"timing": timing},
            },
        )
    ]
    assert f'value="{timing}" aria-pressed="true"' in (await maria.get("/items/tank-7/oil")).text


async def test_declarations_and_requests_go_to_the_log(owner: httpx.AsyncClient, world: FakeBackend) -> None:
    """A refill with a quantity as people write it, a service done, and a request."""
    await owner.post("/items/tank-7/oil/say", data={"what": "refilled", "quantity": "1 200,5", "once": "a"})
    await owner.post("/items/brew-1/descaling/say", data={"what": "serviced", "once": "b"})
    await owner.post("/items/tank-7/oil/say", data={"what": "request", "quantity": "", "once": "c"})
    assert world.submissions == [
        ("outcome", {"id": "console:a", "item": "tank-7/oil", "quantity": 1200.5, "result": "refilled"}),
        ("outcome", {"id": "console:b", "item": "brew-1/descaling", "result": "serviced"}),
        ("request", {"id": "console:c", "item": "tank-7/oil"}),
    ]


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/items/tank-7/oil/say", {"what": "exploded", "once": "a"}),
        ("/items/tank-7/oil/say", {"what": "refilled"}),
        ("/items/tank-7/oil/say", {"what": "refilled", "once": "a", "quantity": "lots"}),
        ("/items/tank-7/oil/say", {"what": "refilled", "once": "a", "quantity": "-3"}),
        ("/items/tank-7/oil/say", {"what": "refilled", "once": "a", "quantity": "nan"}),
        ("/answers/brew-1/beans/4/offer/1", {"result": "accepted", "option": "9"}),
        ("/answers/brew-1/beans/4/offer/1", {"result": "accepted"}),
        ("/answers/brew-1/beans/4/offer/1", {"result": "failed"}),
        ("/answers/brew-1/beans/4/offer/1", {}),
    ],
)
async def test_a_form_that_makes_no_sense_is_refused(
    owner: httpx.AsyncClient, world: FakeBackend, path: str, form: dict[str, str]
) -> None:
    """With a page that says so, and nothing is sent on."""
    answer = await owner.post(path, data=form)
    assert answer.status_code == 400
    assert texts("en")("error.400") in answer.text
    assert world.submissions == []


async def test_after_a_form_the_next_page_confirms_it_once(owner: httpx.AsyncClient) -> None:
    """And not again on the page after that."""
    await owner.post("/items/tank-7/oil/say", data={"what": "refilled", "once": "a"})
    assert texts("en")("flash.refilled") in (await owner.get("/items/tank-7/oil")).text
    assert texts("en")("flash.refilled") not in (await owner.get("/items/tank-7/oil")).text


async def test_a_decision_page_shows_the_reason_first_and_then_the_figures(owner: httpx.AsyncClient) -> None:
    """The forecast, the model and its hash, the rules that spoke, the alternative refused, the figures, the sending."""
    page = (await owner.get("/why/filter-2/filter/1/order/1")).text
    body = page[page.index("<h1") :]
    order = [
        body.index(text)
        for text in (
            "would risk a run-out",
            "supplier acme",
            "run-out@1.0.0:9f2c41d07ab3",
            "replenishment is among the consents",
            "Waiting six more hours",
            "Probability of a stock-out before delivery",
        )
    ]
    assert order == sorted(order)
    assert "given up" in body
    assert "acme.example answers 503" in body


async def test_a_needs_page_lists_decisions_without_reactions(owner: httpx.AsyncClient) -> None:
    """Waiting is a decision with a reason."""
    page = (await owner.get("/why/rack-007/paper_towels/1")).text
    assert "Waited" in page
    assert "you asked for quiet until 07:30" in page


async def test_quarantine_shows_payloads_as_text_and_never_runs_them(owner: httpx.AsyncClient) -> None:
    """Markup is escaped, bytes that are no text are hexadecimal, and a long payload is cut with its length said."""
    page = (await owner.get("/quarantine")).text
    assert "&lt;script&gt;alert(&#39;level&#39;)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert "00 01 02 03" in page
    assert "680 more bytes" in page
    assert "no topic" in page


async def test_quarantine_comes_in_pages(owner: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older ones follow by a link."""
    monkeypatch.setattr("console.pages.quarantine.ROWS", 2)
    first = (await owner.get("/quarantine")).text
    assert 'href="/quarantine?before=3"' in first
    assert "ghost-1" in (await owner.get("/quarantine?before=3")).text


async def test_reactions_come_in_pages(owner: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left out between two pages of which the second starts where the first ended."""
    monkeypatch.setattr("console.pages.reactions.ROWS", 4)
    first = (await owner.get("/reactions")).text
    older = re.search(r'href="(/reactions\?before=\d+)"', first)
    assert older is not None
    assert (await owner.get(older[1])).text.count('class="event"') >= 1


async def test_empty_pages_explain_what_will_be_there(owner: httpx.AsyncClient, world: FakeBackend) -> None:
    """No items, no reactions, no quarantine: a sentence each instead of an empty table."""
    world.reactions_by_id.clear()
    world.quarantined.clear()
    world.empty_fleet()
    for path, key in (
        ("/", "fleet.none_title"),
        ("/reactions", "reactions.none_title"),
        ("/quarantine", "quarantine.none_title"),
    ):
        assert texts("en")(key) in (await owner.get(path)).text
