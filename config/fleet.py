"""The fleet: customers, devices with their slots and parts, and suppliers, as in a fleet file or a change over HTTP.

Models check one table each; checks across tables (a device's customer exists, an item's experience is not above its
customer's) are config/catalogue.py's, reading a file with line numbers is config/fleet_file.py's. A validator's message
begins with "expected", as it follows "is VALUE: ".
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from config import validators


class Experience(StrEnum):
    """How much the customer delegates, least first."""

    RESPOND = "respond"
    OFFER = "offer"
    COACH = "coach"
    AUTO = "auto"

    @property
    def rank(self) -> int:
        """0 for respond to 3 for auto. An item's may not exceed its customer's."""
        return list(Experience).index(self)


Identifier = Annotated[
    str, Field(min_length=1, max_length=128, pattern=r"^[^\s/+#$][^\s/+#]*$"), AfterValidator(validators.composed_name)
]
Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
LeadTime = Annotated[
    tuple[Positive, Positive],
    Field(description="10 % and 90 % quantiles in days"),
    AfterValidator(validators.lead_time),
]
ClockTime = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
IsoDate = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$"), AfterValidator(validators.day)]
Identifiers = Annotated[tuple[Identifier, ...], AfterValidator(validators.unique_values)]
ChannelAddress = Annotated[str, AfterValidator(validators.channel)]
Consent = Annotated[str, AfterValidator(validators.consent)]
AwayPeriod = Annotated[tuple[IsoDate, IsoDate], AfterValidator(validators.away_period)]


class TableModel(BaseModel):
    """A table of the fleet file: frozen, and no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Customer(TableModel):
    """A customer with their contact data, limits, consents and absences."""

    id: Identifier
    name: str | None = None
    language: validators.Language = "en"
    timezone: Annotated[str, AfterValidator(validators.timezone)] = "UTC"
    experience: Experience = Experience.RESPOND
    quiet_hours: Annotated[tuple[ClockTime, ClockTime], AfterValidator(validators.quiet_hours)] | None = None
    contacts_per_week_max: Annotated[int, Field(ge=0)] = 3
    budget_per_month: Money | None = None
    channels: Annotated[tuple[ChannelAddress, ...], AfterValidator(validators.unique_values)] = ("mqtt",)
    consents: Annotated[tuple[Consent, ...], AfterValidator(validators.unique_values)] = ()
    away: tuple[AwayPeriod, ...] = ()


class Slot(TableModel):
    """An item that holds a consumable. Quantities are in the profile's unit; None: the profile's default."""

    capacity: Positive | None = None
    pack: Positive | None = None
    suppliers: Identifiers = ()
    price_max: Money | None = None
    stockout_cost: Money = 20.0
    stockout_cost_per_day: Money | None = None
    holding_cost_per_day: Money | None = None
    order_cost: Money = 0.25
    spare_packs: bool = False
    experience: Experience | None = None


class Part(TableModel):
    """An item that wears and is maintained; None: the profile's default."""

    failure_cost: Money | None = None
    service_cost: Money | None = None
    suppliers: Identifiers = ()
    experience: Experience | None = None


class Device(TableModel):
    """A device: what publishes telemetry, with overrides of its profile's slots and parts."""

    id: Identifier
    customer: Identifier
    profile: Identifier
    slots: dict[Identifier, Slot] = Field(default_factory=dict)
    parts: dict[Identifier, Part] = Field(default_factory=dict)


class SupplierKind(StrEnum):
    """The kinds of suppliers that ship: the five architectures. Plug-ins may add others (reactor/suppliers)."""

    PRODUCER = "producer"
    RETAILER = "retailer"
    MARKET_MAKER = "market-maker"
    CROWD = "crowd"
    PEER = "peer"


class Product(TableModel):
    """A supplier's product. price: of `quantity`."""

    sku: Annotated[str, Field(min_length=1, max_length=128)]
    quantity: Positive
    price: Money


class Supplier(TableModel):
    """Who delivers. kind: a SupplierKind or a plug-in's. secret: for signing webhooks (`whsec_…`).

    endpoint: an https URL, "mqtt", "log" (recorded only), or an address of a plug-in's channel.
    """

    id: Identifier
    kind: Annotated[str, AfterValidator(validators.supplier_kind)] = SupplierKind.PRODUCER.value
    endpoint: Annotated[str, AfterValidator(validators.endpoint)] = "log"
    secret: Annotated[str, AfterValidator(validators.webhook_secret)] | None = None
    lead_time_days: LeadTime = (1.0, 3.0)
    price: Money = 0.0
    products: Annotated[tuple[Product, ...], AfterValidator(validators.unique_skus)] = ()


class Fleet(TableModel):
    """The tables of a fleet file. Ids are unique in each table."""

    customers: tuple[Customer, ...] = ()
    devices: tuple[Device, ...] = ()
    suppliers: tuple[Supplier, ...] = ()

    def items(self) -> Iterator[tuple[Device, str]]:
        """Every (device, item name) that the tables name, devices in the order of their ids."""
        for device in sorted(self.devices, key=lambda d: d.id):
            for name in (*device.slots, *device.parts):
                yield device, name
