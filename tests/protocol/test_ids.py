"""Names for the things that must not be mixed up cost nothing at run time."""

from typing import NewType, get_type_hints

import pytest

from protocol import chain, ids

_TYPES = {name: value for name, value in vars(ids).items() if isinstance(value, NewType)}


def test_each_id_is_a_plain_value_on_the_wire() -> None:
    assert {kind.__supertype__ for kind in _TYPES.values()} == {str, int, bytes}


@pytest.mark.parametrize("name", sorted(_TYPES))
def test_an_id_keeps_its_own_name(name: str) -> None:
    assert _TYPES[name].__name__ == name


def test_the_chain_port_speaks_in_ids() -> None:
    hints = get_type_hints(chain.Neuron)

    assert hints["hotkey"] is ids.Hotkey
    assert hints["coldkey"] is ids.Coldkey
    assert hints["uid"] is ids.Uid
