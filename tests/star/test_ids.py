"""Ids: written and parsed in one place, without loss."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star.errors import MalformedId
from star.ids import DecisionId, ItemId, NeedId, ReactionId, device_of, item_of_reaction, name_of
from star.react import ReactionType

Id = ItemId | NeedId | ReactionId | DecisionId

_names = st.text(min_size=1, max_size=12).filter(lambda text: "/" not in text)
_counters = st.integers(min_value=0, max_value=10**18 - 1)
_items = st.builds(ItemId, _names, _names)
_needs = st.builds(NeedId, _items, _counters)
_reactions = st.builds(ReactionId, _needs, st.sampled_from(ReactionType), _counters)
_decisions = st.builds(DecisionId, _needs, _counters)
_pieces = st.sampled_from(["a", "decision", "order", "", "0", "1", "01", "-1", "²", "1" * 30])


@given(st.one_of(_items, _needs, _reactions, _decisions))
def test_an_id_parsed_from_its_text_is_the_same(one: Id) -> None:
    """Whatever the names are."""
    assert type(one).parse(str(one)) == one


@given(st.lists(_pieces, max_size=6).map("/".join), st.sampled_from([ItemId, NeedId, ReactionId, DecisionId]))
def test_a_text_is_refused_or_is_what_the_id_writes(text: str, kind: type[Id]) -> None:
    """No two texts are one id, so texts may be compared; nothing but MalformedId is raised."""
    with suppress(MalformedId):
        assert str(kind.parse(text)) == text


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ItemId, ""),
        (ItemId, "tank-7"),
        (ItemId, "tank-7/"),
        (ItemId, "/oil"),
        (ItemId, "tank-7/oil/1"),
        (NeedId, "tank-7/oil"),
        (NeedId, "tank-7/oil/third"),
        (NeedId, "tank-7/oil/03"),
        (NeedId, "tank-7//3"),
        (ReactionId, "tank-7/oil/3/order"),
        (ReactionId, "tank-7/oil/3/decision/1"),
        (ReactionId, "tank-7/oil/3/order/-1"),
        (DecisionId, "tank-7/oil/3/order/1"),
        (DecisionId, "tank-7/oil/3/decision/one"),
        (DecisionId, "tank-7/decision/3/order/1"),
    ],
)
def test_a_text_of_another_form_names_what_was_expected(kind: type[Id], text: str) -> None:
    """The text and the expected form are in the message."""
    with pytest.raises(MalformedId, match="expected device/name"):
        kind.parse(text)


def test_names_with_a_slash_or_none_at_all_make_no_item() -> None:
    """Such an id could not be parsed again."""
    for device, name in (("a/b", "c"), ("a", "b/c"), ("", "a"), ("a", "")):
        with pytest.raises(MalformedId):
            ItemId(device, name)


def test_an_id_leads_to_its_need_item_and_device() -> None:
    """The parts are those of the examples in the module's docstring."""
    reaction = ReactionId.parse("tank-7/oil/3/order/1")
    assert reaction.kind is ReactionType.ORDER_REQUESTED
    assert reaction.attempt == 1
    assert reaction.need == NeedId(ItemId("tank-7", "oil"), 3)
    assert str(DecisionId(reaction.need, 2)) == "tank-7/oil/3/decision/2"
    assert (device_of("tank-7/oil"), name_of("tank-7/oil")) == ("tank-7", "oil")


@given(st.one_of(st.none(), st.text(max_size=30), _decisions.map(str)))
def test_a_foreign_reaction_is_of_no_item(text: str | None) -> None:
    """Ids of outcomes come from outside: one that is not ours is no error."""
    assert ReactionId.try_parse(text) is None
    assert item_of_reaction(text) is None
    assert item_of_reaction("tank-7/oil/3/booking/12") == "tank-7/oil"
