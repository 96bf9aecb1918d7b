"""What customers read: one sentence a decision, in English or French, with its numbers and dates as Babel writes them.

Templates are here, side by side, so that one language never says more than the other. Money has no currency sign: it is in
the fleet's own currency.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_datetime
from babel.numbers import format_decimal

from config.catalogue import Catalogue, PartItem, SlotItem
from config.fleet import Customer
from star.analyse import DAYS_MAX, Forecast
from star.times import utc

TEMPLATES: Mapping[str, Mapping[str, str]] = {
    "lasts": {
        "en": "{label} ({device}) lasts about {middle} more days (90 % sure: {low} to {high})",
        "fr": "{label} ({device}) : encore environ {middle} jours (sûr à 90 % : {low} à {high})",
    },
    "empty": {
        "en": "{label} ({device}) is about to run out, or has",
        "fr": "{label} ({device}) : la fin est là, ou presque",
    },
    "unknown": {
        "en": "{label} ({device}): no reading has come yet",
        "fr": "{label} ({device}) : aucune mesure reçue",
    },
    "due": {
        "en": "{label} ({device}) is due in about {middle} days",
        "fr": "{label} ({device}) : à faire dans environ {middle} jours",
    },
    "due_now": {"en": "{label} ({device}) is due now", "fr": "{label} ({device}) : à faire maintenant"},
    "order": {
        "en": "{state}, and a delivery takes {from_days} to {to_days}: {amount} ordered from {supplier} for {price}.",
        "fr": "{state}, et une livraison prend de {from_days} à {to_days} jours : commande de {amount} chez {supplier} pour {price}.",
    },
    "order_accepted": {
        "en": "You accepted: {amount} ordered from {supplier} for {price}. {state}.",
        "fr": "Vous avez accepté : commande de {amount} chez {supplier} pour {price}. {state}.",
    },
    "order_request": {
        "en": "You asked: {amount} ordered from {supplier} for {price}. {state}.",
        "fr": "À votre demande : commande de {amount} chez {supplier} pour {price}. {state}.",
    },
    "order_again": {
        "en": "The order before it did not come: {amount} ordered from {supplier} for {price}. {state}.",
        "fr": "La commande précédente n'est pas arrivée : commande de {amount} chez {supplier} pour {price}. {state}.",
    },
    "cancel_met": {
        "en": "{label} ({device}) was refilled from elsewhere, so the order from {supplier} is cancelled.",
        "fr": "{label} ({device}) : le plein a été fait autrement, la commande chez {supplier} est annulée.",
    },
    "cancel_asked": {
        "en": "You cancelled the order of {label} ({device}) from {supplier}; it is called off there.",
        "fr": "Vous avez annulé la commande de {label} ({device}) chez {supplier} ; elle y est décommandée.",
    },
    "offer": {
        "en": "{state}: {amount} from {supplier} for {price} would come in {from_days} to {to_days} days.",
        "fr": "{state} : {amount} chez {supplier} pour {price}, livraison en {from_days} à {to_days} jours.",
    },
    "ready": {
        "en": "{state}: a request for {amount} from {supplier} for {price} is ready, one tap sends it.",
        "fr": "{state} : une demande de {amount} chez {supplier} pour {price} est prête, un geste suffit pour l'envoyer.",
    },
    "remind": {
        "en": "{state}: time to reorder; {amount} from {supplier} costs {price}.",
        "fr": "{state} : pensez à en recommander ; {amount} chez {supplier} coûte {price}.",
    },
    "remind_only": {"en": "{state}: time to get more.", "fr": "{state} : pensez à en racheter."},
    "ready_only": {
        "en": "{state}: no supplier can be asked, so it is yours to get.",
        "fr": "{state} : aucun fournisseur à solliciter, à vous de vous en procurer.",
    },
    "remind_service": {
        "en": "{state}: time for it; a service costs {price}.",
        "fr": "{state} : c'est le moment ; l'entretien coûte {price}.",
    },
    "offer_service": {
        "en": "{state}: a service for {price} can be booked.",
        "fr": "{state} : un entretien à {price} peut être réservé.",
    },
    "ready_service": {
        "en": "{state}: a service for {price} is ready to be booked, one tap does it.",
        "fr": "{state} : un entretien à {price} est prêt à être réservé, un geste suffit.",
    },
    "book": {
        "en": "{state}: a service is booked for {price}.",
        "fr": "{state} : un entretien est réservé pour {price}.",
    },
    "book_accepted": {
        "en": "You accepted: a service is booked for {price}. {state}.",
        "fr": "Vous avez accepté : un entretien est réservé pour {price}. {state}.",
    },
    "book_request": {
        "en": "You asked: a service is booked for {price}. {state}.",
        "fr": "À votre demande : un entretien est réservé pour {price}. {state}.",
    },
    "held": {"en": "{state}. Held: {reason}.", "fr": "{state}. Remis à plus tard : {reason}."},
    "lost": {
        "en": "The order from {supplier} is far later than its deliveries ever are, and no rise was seen: given up as lost.",
        "fr": "La commande chez {supplier} a bien trop de retard et aucune hausse n'a été vue : considérée comme perdue.",
    },
    "met": {
        "en": "{label} ({device}) was refilled or serviced.",
        "fr": "{label} ({device}) : plein ou entretien fait.",
    },
    "passed": {"en": "{state}: no longer pressing.", "fr": "{state} : ce n'est plus urgent."},
    "declined": {"en": "You said no; nothing is done.", "fr": "Vous avez dit non ; rien n'est fait."},
    "cancelled": {
        "en": "You cancelled; nothing is ordered again for a day.",
        "fr": "Vous avez annulé ; rien n'est recommandé pendant un jour.",
    },
    "failed": {"en": "{supplier} can't deliver.", "fr": "{supplier} ne peut pas livrer."},
    "already": {
        "en": "Recorded: an order that meets this is already under way.",
        "fr": "Noté : une commande qui y répond est déjà en route.",
    },
    "why_best": {"en": "your first choice", "fr": "votre premier choix"},
    "why_cheaper": {"en": "cheaper for each unit", "fr": "moins cher à l'unité"},
    "why_faster": {"en": "comes sooner", "fr": "arrive plus tôt"},
    "why_other": {"en": "another supplier you accept", "fr": "un autre fournisseur accepté"},
    "why_size": {"en": "another size", "fr": "une autre quantité"},
    "service": {"en": "a service", "fr": "un entretien"},
    # Rules.
    "consent_yes": {"en": "you agreed to {purpose}", "fr": "vous avez consenti à : {purpose}"},
    "consent_no": {"en": "you have not agreed to {purpose}", "fr": "vous n'avez pas consenti à : {purpose}"},
    "experience_yes": {"en": "you allow: {experience}", "fr": "vous permettez : {experience}"},
    "quiet_yes": {"en": "it is not in your quiet hours", "fr": "ce n'est pas une heure de silence"},
    "quiet_no": {"en": "your quiet hours last until {until}", "fr": "vos heures de silence durent jusqu'au {until}"},
    "contacts_yes": {
        "en": "{count} of {most} contacts in seven days",
        "fr": "{count} contacts sur {most} en sept jours",
    },
    "contacts_no": {
        "en": "{count} contacts in seven days, and you allow {most}",
        "fr": "{count} contacts en sept jours, et vous en permettez {most}",
    },
    "price_yes": {"en": "{price} a pack is within your {most}", "fr": "{price} le lot, dans votre limite de {most}"},
    "price_no": {
        "en": "{price} a pack is over your {most}",
        "fr": "{price} le lot, au-dessus de votre limite de {most}",
    },
    "price_any": {"en": "no highest price is set", "fr": "aucun prix maximal n'est fixé"},
    "budget_yes": {
        "en": "{spent} of {most} this month with this order",
        "fr": "{spent} sur {most} ce mois-ci, cette commande comprise",
    },
    "budget_no": {
        "en": "{spent} this month with this order, over your {most}",
        "fr": "{spent} ce mois-ci avec cette commande, au-dessus de vos {most}",
    },
    "budget_any": {"en": "no budget is set", "fr": "aucun budget n'est fixé"},
    "away_yes": {"en": "it can't arrive while you are away", "fr": "rien ne peut arriver en votre absence"},
    "away_no": {
        "en": "it could arrive while you are away; safe from {until}",
        "fr": "cela pourrait arriver en votre absence ; possible à partir du {until}",
    },
    "outstanding_no": {"en": "an order may still arrive", "fr": "une commande peut encore arriver"},
    "snooze_no": {"en": "you cancelled, so not before {until}", "fr": "vous avez annulé, donc pas avant le {until}"},
    "retry_no": {"en": "tried in vain, again at {until}", "fr": "essayé en vain, nouvel essai le {until}"},
    "mandate_yes": {"en": "you said so yourself", "fr": "vous l'avez dit vous-même"},
    "alternative_wait": {
        "en": "waiting {days} days would cost {later}, acting now {now}",
        "fr": "attendre {days} jours coûterait {later}, agir maintenant {now}",
    },
    "alternative_order": {"en": "ordering, refused: {reason}", "fr": "commander, refusé : {reason}"},
    "replenishment": {"en": "replenishment", "fr": "réapprovisionnement"},
    "maintenance": {"en": "maintenance", "fr": "entretien"},
}


def translate(language: str, key: str, **figures: str) -> str:
    """The sentence or phrase `key`, with its figures already written."""
    return TEMPLATES[key][language].format(**figures)


@lru_cache(maxsize=8)
def _locale(language: str) -> Locale:
    return Locale(language)


def format_number(value: float, language: str, decimals: int = 1) -> str:
    """At most so many decimals; none from 100 on."""
    shape = "#,##0" if abs(value) >= 100 or decimals == 0 else "#,##0." + "#" * decimals
    return str(format_decimal(value, format=shape, locale=_locale(language)))


def format_money(value: float, language: str) -> str:
    """With two decimals."""
    return str(format_decimal(value, format="#,##0.00", locale=_locale(language)))


@lru_cache(maxsize=4096)
def time_zone(name: str) -> ZoneInfo:
    """The customer's zone."""
    return ZoneInfo(name)


def format_moment(at_ms: int, customer: Customer) -> str:
    """Day and time in the customer's zone and language."""
    local: datetime = utc(at_ms).astimezone(time_zone(customer.timezone))
    return str(format_datetime(local, format="d MMM, HH:mm", locale=_locale(customer.language)))


def item_label(item: SlotItem | PartItem, catalogue: Catalogue, language: str) -> str:
    """What the customer calls it; where the profile only has a word for any slot, with the item's own name."""
    label = item.label.get(language) or item.label.get("en") or item.name
    profile = catalogue.profiles.get(item.profile)
    named = profile is None or item.name in profile.slots or item.name in profile.parts
    text = label if named else f"{label} “{item.name}”"
    return text[:1].upper() + text[1:]


def remaining_text(item: SlotItem | PartItem, catalogue: Catalogue, language: str, forecast: Forecast | None) -> str:
    """How long it lasts, without a full stop."""
    figures = {"label": item_label(item, catalogue, language), "device": item.device}
    if forecast is None:
        return translate(language, "unknown", **figures)
    low, middle, high = forecast.days[1], forecast.days[4], forecast.days[7]
    if isinstance(item, PartItem):
        key = "due_now" if middle < 0.5 else "due"
        return translate(language, key, middle=format_number(middle, language), **figures)
    if middle < 0.25:
        return translate(language, "empty", **figures)
    shown = {"low": low, "middle": middle, "high": high}
    texts = {name: (format_number(days, language) if days < DAYS_MAX else "3650+") for name, days in shown.items()}
    return translate(language, "lasts", **texts, **figures)


def quantity_text(quantity: float, item: SlotItem | PartItem, language: str) -> str:
    """A quantity with its unit and what it is of."""
    if isinstance(item, PartItem):
        return translate(language, "service")
    return f"{format_number(quantity, language)} {item.unit}".strip()
