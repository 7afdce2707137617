"""The run of many conversations: which is asked when, and what is measured of it."""

from pathlib import Path

from bench import conversations


def test_a_tenth_is_asked_on_at_once_and_the_others_a_round_later() -> None:
    asked = list(conversations.plan(20, 2))
    assert asked[:3] == [0, 0, 1]
    assert asked == asked[:22] * 2
    assert [asked.count(number) for number in (0, 1, 10, 19)] == [4, 2, 4, 2]


def test_what_is_on_disk_is_counted_without_the_log(tmp_path: Path) -> None:
    for name, size in (("codex-home/catalog.json", 3), ("codex-home/a/b", 4), ("log/x", 100)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    assert conversations.used(tmp_path) == 7
