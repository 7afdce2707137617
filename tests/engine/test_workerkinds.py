"""A configuration's words lead to the kinds of workers, each by its own name."""

import typing

from engine import workerkinds


def test_every_name_that_a_configuration_may_have_is_that_of_its_kind() -> None:
    assert tuple(workerkinds.KINDS) == typing.get_args(workerkinds.Name)
    assert {name: kind.name for name, kind in workerkinds.KINDS.items()} == {
        name: name for name in workerkinds.KINDS
    }


def test_kinds_are_told_apart_by_their_names() -> None:
    kinds = (*workerkinds.KINDS.values(), workerkinds.DISABLED)
    assert len({kind.name for kind in kinds}) == len(kinds)
