"""The fleet over HTTP: its tables, and changes by JSON merge patch (RFC 7396), in force when answered."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request

from config.fleet import Customer, Device, Supplier
from console.access.accounts import Account
from console.api.problem_details import ERROR_RESPONSES, Caller, ConsoleDependency, config_problem
from console.api.submissions import parse_json
from console.page_context import Console, RequestRefused
from star.errors import ConfigError

Table = Literal["customers", "devices", "suppliers"]
OWN_DEVICE_FIELDS = frozenset({"slots", "parts"})
"""Fields of a device that a customer may change: not its customer, not its profile."""
_EXAMPLE = {"content": {"application/merge-patch+json": {"example": {"experience": "offer"}}}}

router = APIRouter(tags=["fleet"], responses=ERROR_RESPONSES)


@router.get("/customers")
def customers(account: Caller, console: ConsoleDependency) -> dict[str, Any]:
    """The customers, by id."""
    rows = console.backend.catalogue().customers.values()
    return {"customers": [row_fields(row) for row in sorted(rows, key=lambda r: r.id) if account.can_see(row.id)]}


@router.get("/devices")
def devices(account: Caller, console: ConsoleDependency) -> dict[str, Any]:
    """The devices, by id."""
    rows = console.backend.catalogue().devices.values()
    return {"devices": [row_fields(row) for row in sorted(rows, key=lambda r: r.id) if account.can_see(row.customer)]}


@router.get("/suppliers")
def suppliers(account: Caller, console: ConsoleDependency) -> dict[str, Any]:
    """The suppliers, by id; their secrets are not shown."""
    rows = console.backend.catalogue().suppliers.values()
    return {"suppliers": [_supplier_fields(row, account) for row in sorted(rows, key=lambda r: r.id)]}


@router.get("/{table}/{id}")
def row(table: Table, id: str, account: Caller, console: ConsoleDependency) -> dict[str, Any]:
    """One row of a table."""
    found = _row(console, account, table, id)
    return _supplier_fields(found, account) if isinstance(found, Supplier) else row_fields(found)


@router.patch("/{table}/{id}", openapi_extra={"requestBody": {"required": True, **_EXAMPLE}})
async def change(
    table: Table, id: str, request: Request, account: Caller, console: ConsoleDependency
) -> dict[str, Any]:
    """Changes a row: given fields replace, null resets to the default. For an operator an unknown id adds a row.

    With 422 every mistake is named and nothing is changed.
    """
    patch = parse_json(await request.body())
    if not isinstance(patch, dict):
        raise RequestRefused(422, f"the body is {type(patch).__name__}: expected an object")
    if patch.get("id", id) != id:
        raise RequestRefused(422, f"id is {patch['id']!r}: expected {id!r}, or none, as ids do not change")
    before: dict[str, Any] = {}
    if not account.operator or id in getattr(console.backend.catalogue(), table):
        before = _row(console, account, table, id).model_dump(mode="json", exclude_unset=True)
    _check_allowed(account, table, patch)
    merged = {**merge_patch(before, {key: value for key, value in patch.items() if key != "id"}), "id": id}
    if table == "customers":
        # A customer's row keeps fields that a change does not name, so fields to reset are named with null.
        merged |= {key: None for key, value in patch.items() if value is None}
    try:
        await console.backend.submit_fleet_change({table: [merged]})
    except ConfigError as error:
        raise config_problem(error) from error
    console.notifier.notify_all()
    found = _row(console, account, table, id)
    return _supplier_fields(found, account) if isinstance(found, Supplier) else row_fields(found)


def merge_patch(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """`target` with the merge patch applied (RFC 7396)."""
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            inner = merged.get(key)
            merged[key] = merge_patch(inner if isinstance(inner, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def row_fields(row: Customer | Device | Supplier) -> dict[str, Any]:
    """A row with its defaults."""
    return row.model_dump(mode="json")


def _supplier_fields(row: Supplier, account: Account) -> dict[str, Any]:
    hidden = {"secret"} if account.operator else {"secret", "endpoint"}
    return row.model_dump(mode="json", exclude=hidden)


def _row(console: Console, account: Account, table: Table, id: str) -> Customer | Device | Supplier:
    found: Customer | Device | Supplier | None = getattr(console.backend.catalogue(), table).get(id)
    owner = found.customer if isinstance(found, Device) else id if isinstance(found, Customer) else None
    if found is None or (owner is not None and not account.can_see(owner)):
        raise RequestRefused(404, f"there is no {table[:-1]} {id!r}, or it is not yours")
    return found


def _check_allowed(account: Account, table: Table, patch: dict[str, Any]) -> None:
    if account.operator:
        return
    if table == "suppliers":
        raise RequestRefused(403, "suppliers are changed by operators")
    if table == "devices" and not patch.keys() - {"id"} <= OWN_DEVICE_FIELDS:
        raise RequestRefused(403, f"of a device a customer may change {', '.join(sorted(OWN_DEVICE_FIELDS))} only")
