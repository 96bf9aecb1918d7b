"""Every text whose wording changed on purpose since the goldens were recorded: (what it was, what it is), as regular expressions.

Only sentences for people belong here. Figures, names, ids and the order of things are held to the byte.
"""

from __future__ import annotations

import re

REWORDED: tuple[tuple[str, str], ...] = ()
"""What commands print around the facts."""

MESSAGES: tuple[tuple[str, str], ...] = (
    ("is about to run out, or has", "is about to run out or is already empty"),
    (" : la fin est là, ou presque", " : bientôt vide, ou déjà vide"),
    ("The order before it did not come: ", "The previous order did not arrive: "),
    ("; it is called off there\\.", "; the supplier is asked to cancel it."),
    (" ; elle y est décommandée\\.", " ; l'annulation est demandée au fournisseur."),
    (" : pensez à en recommander ; ", " : pensez à passer commande ; "),
    ("no supplier can be asked, so it is yours to get\\.", "no supplier can be asked, please buy it yourself."),
    (
        "aucun fournisseur à solliciter, à vous de vous en procurer\\.",
        "aucun fournisseur ne peut être sollicité, merci de vous en procurer vous-même.",
    ),
    (
        "deliveries ever are, and no rise was seen: given up as lost\\.",
        "deliveries ever are: we saw no refill and consider the order lost.",
    ),
    (
        "a bien trop de retard et aucune hausse n'a été vue : considérée comme perdue\\.",
        "a bien plus de retard que ses autres livraisons : nous n'avons constaté aucun remplissage et la considérons"
        " comme perdue.",
    ),
    ("You said no; nothing is done\\.", "You declined; nothing will be done."),
    ("Vous avez dit non ; rien n'est fait\\.", "Vous avez refusé ; rien ne sera fait."),
    ("rien n'est recommandé pendant un jour\\.", "aucune nouvelle commande pendant un jour."),
    ("an order that meets this is already under way", "an order that covers this is already under way"),
    (
        "une commande qui y répond est déjà en route\\.",
        "une commande qui couvre ce besoin est déjà en cours.",
    ),
    ("cheaper for each unit", "cheaper per unit"),
    ("comes sooner", "arrives sooner"),
    ("it is not in your quiet hours", "it is outside your quiet hours"),
    ("ce n'est pas une heure de silence", "c'est en dehors de vos heures calmes"),
    ("vos heures de silence durent", "vos heures calmes durent"),
    ("no highest price is set", "no maximum price is set"),
    ("tried in vain, again at", "the last attempt failed, the next one is at"),
    ("essayé en vain, nouvel essai le", "la dernière tentative a échoué, la prochaine est prévue le"),
    ("you said so yourself", "you authorized it yourself"),
    ("vous l'avez dit vous-même", "vous l'avez autorisé vous-même"),
)
"""Texts for customers (reactor/locale). Decisions that are made anew have today's, stored receipts those they were made with."""


def as_worded_now(recorded: str, *, stored: bool = False) -> str:
    """A recorded text with today's wording. stored: it is printed from a store that holds messages as they were."""
    for was, now in REWORDED if stored else (*REWORDED, *MESSAGES):
        recorded = re.sub(was, now, recorded)
    return recorded
