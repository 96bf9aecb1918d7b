"""Commands about a need: prompting, holding, recording a decision, and its state."""

from __future__ import annotations

from dataclasses import dataclass, field

from reactor.state import Authorization, TimerKind
from star.analyse import Forecast, NeedKind
from star.react import Option, ReactionType, RuleVerdict
from star.repeat import NeedState

WAIT, REFUSED = "wait", "refused"
"""Verdicts of receipts without a reaction: put off, and ruled out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedTarget:
    """The live need of an item, opened with this kind and cause where there is none.

    at_ms: the moment decided for; forecast: the one that the decision rests on.
    """

    item: str
    customer: str
    kind: NeedKind
    cause: str
    at_ms: int
    forecast: Forecast | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rationale:
    """What a decision's receipt holds beside its verdict. because: a sentence in the customer's language."""

    because: str
    rules: tuple[RuleVerdict, ...] = ()
    alternative: str = ""
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptCustomer:
    """Send an offer or a reminder, or make a request ready. The first option is the default.

    hold_until_ms: the need is evaluated again then, where a rule forbade another way of asking until that moment.
    """

    target: NeedTarget
    rationale: Rationale
    kind: ReactionType
    options: tuple[Option, ...]
    hold_until_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Put the need off until a rule allows it; until_ms None: the rule names no moment. dedup_key: as in RecordDecision."""

    target: NeedTarget
    rationale: Rationale
    timer: TimerKind
    until_ms: int | None
    dedup_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDecision:
    """Write the receipt of a decision that made no reaction.

    dedup_key: what the verdict is about; the same verdict about the same thing is recorded once. Empty: always recorded.
    """

    need: str
    verdict: str
    rationale: Rationale
    at_ms: int
    forecast: Forecast | None = None
    dedup_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizeNeed:
    """The customer asked for it or accepted it: earlier refusals and waits no longer hold, and it is evaluated at this tick."""

    target: NeedTarget
    authorization: Authorization


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawAuthorization:
    """The need has no authorization any more. forget_contacts: the customer may be asked as if for the first time."""

    need: str
    forget_contacts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshForecast:
    """Keep a newer forecast with the need."""

    need: str
    forecast: Forecast


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlePrompts:
    """Close the need's open prompts and clear its timers: the customer has answered."""

    need: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseHold:
    """End the need's hold and evaluate its item at this tick."""

    need: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reevaluate:
    """Evaluate the item at this tick, after all events, refills and timers."""

    item: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveNeed:
    """Put the need in another state, and nothing else."""

    need: str
    to: NeedState


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkMet:
    """A refill met the need while its order is being cancelled: it closes once the cancellation is settled."""

    need: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkRefused:
    """The customer declined the need's order: it becomes refused once the order has ended."""

    need: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefuseNeed:
    """The customer said no: the need is refused, by way of the states between."""

    need: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeNeed:
    """The need's order goes on, as the supplier rejected its cancellation."""

    need: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnoozeNeed:
    """Open the need again, and order nothing for it before until_ms."""

    need: str
    until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReopenNeed:
    """Open the need again after its order failed or was lost. supplier: whose it was; retry_ms: the next attempt, None: now."""

    need: str
    supplier: str
    retry_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseNeed:
    """End the need, with its prompts and timers."""

    need: str
    at_ms: int
