"""The preferences page: how much a customer delegates, and when and how to contact them. Changes take effect at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from config.fleet import Customer
from console.backend import items_of
from console.page_context import Page, RequestRefused, SignedInPage
from console.preference_form import form_version, own_experience, parse_preferences
from star.errors import ConfigError

CUSTOMERS_SHOWN = 500

router = APIRouter()


@router.get("/preferences")
def preferences(page: SignedInPage, q: str = "") -> Response:
    """Redirects a customer to their own preferences; for an operator, a list of customers."""
    if page.account.customer is not None:
        return RedirectResponse(f"/preferences/{page.account.customer}", 303)
    customers = sorted(page.catalogue.customers.values(), key=lambda c: (c.name or c.id).casefold())
    found = [c for c in customers if q.casefold() in f"{c.id} {c.name or ''}".casefold()]
    if len(customers) == 1:
        return RedirectResponse(f"/preferences/{customers[0].id}", 303)
    return page.render("customers.html", customers=found[:CUSTOMERS_SHOWN], q=q)


@router.get("/preferences/{customer}")
def preferences_of(page: SignedInPage, customer: str) -> Response:
    """The form of one customer."""
    return _form(page, _customer(page, customer))


@router.post("/preferences/{customer}")
async def save(page: SignedInPage, customer: str) -> Response:
    """Appends the change to the log, or shows the form with the mistakes and changes nothing."""
    before = _customer(page, customer)
    form = await page.request.form()
    given: dict[str, Any] = {**form, "away_from": form.getlist("away_from"), "away_to": form.getlist("away_to")}
    texts = page.formats(before.id).texts
    if given.get("version") != form_version(page.catalogue, before):
        return _form(page, before, mistakes=[texts("prefs.changed_meanwhile")], status=409)
    change = parse_preferences(page.catalogue, before, given, texts)
    if change.mistakes:
        return _form(page, before, given=given, mistakes=change.mistakes, status=422)
    try:
        await page.backend.submit_fleet_change(change.tables)
    except ConfigError as error:
        sentences = [f"{problem.field}: {problem.message}" for problem in error.problems]
        return _form(page, before, given=given, mistakes=sentences, status=422)
    page.console.notifier.notify_all()
    lowered = ", ".join(page.title(key) for key in change.lowered)
    page = Page(page.console, page.request, page.account, page.session)
    texts = page.formats(before.id).texts
    saved = texts("prefs.lowered", items=lowered) if lowered else texts("prefs.saved")
    return _form(page, _customer(page, customer), saved=saved)


def _customer(page: Page, id: str) -> Customer:
    customer = page.catalogue.customers.get(id)
    if customer is None or not page.account.can_see(id):
        raise RequestRefused(404)
    return customer


def _form(
    page: Page,
    customer: Customer,
    *,
    given: dict[str, Any] | None = None,
    mistakes: Sequence[str] = (),
    saved: str = "",
    status: int = 200,
) -> Response:
    items = items_of(page.catalogue, {customer.id})
    value = given or _form_fields(page, customer)
    return page.render(
        "preferences.html",
        status,
        formats=page.formats(customer.id),
        customer=customer,
        value=value,
        away_rows=[*zip(value["away_from"], value["away_to"], strict=False), ("", "")],
        own=[item.key for item in items if value.get(f"item:{item.key}", "same") != "same"],
        version=form_version(page.catalogue, customer),
        items=[(item, page.item_title(item)) for item in items],
        mistakes=mistakes,
        saved=saved,
    )


def _form_fields(page: Page, customer: Customer) -> dict[str, Any]:
    """The form's fields with the values in force, under the names that the form submits."""
    items = items_of(page.catalogue, {customer.id})
    budget = customer.budget_per_month
    return {
        "experience": customer.experience.value,
        "language": customer.language,
        "timezone": customer.timezone,
        "quiet_from": customer.quiet_hours[0] if customer.quiet_hours else "",
        "quiet_to": customer.quiet_hours[1] if customer.quiet_hours else "",
        "contacts": str(customer.contacts_per_week_max),
        "budget": "" if budget is None else f"{budget:.2f}".removesuffix(".00"),
        "channels": "\n".join(customer.channels),
        **{f"consent_{consent}": "on" for consent in customer.consents},
        "away_from": [first for first, _ in customer.away],
        "away_to": [last for _, last in customer.away],
        **{f"item:{item.key}": (own_experience(page.catalogue, item.key) or "same") for item in items},
    }
