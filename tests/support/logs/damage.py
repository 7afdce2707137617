"""Damage to a log that was closed: each kind changes its files as a disk, a copy or a hand may."""

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

Files = dict[str, bytes]
"""The files of a log's directory by name."""

Change = Callable[[random.Random, Files], None]
"""Changes a log's files in place; it may come out as they were."""

Choose = Callable[[random.Random, Files], str]
"""Names the file that is changed."""

CHAIN, CHECKPOINT = "chain", "checkpoint"


def damages() -> dict[str, Change]:
    """Every kind of damage, by its name."""
    return dict(_kinds())


def _kinds() -> Iterator[tuple[str, Change]]:
    places: dict[str, Choose] = {
        "segment": _a_segment,
        "chain": _chain,
        "checkpoint": _checkpoint,
    }
    for where, choose in places.items():
        for name, change in OF_BYTES.items():
            yield f"{where}: {name}", _in_file(choose, change)
        if where != "checkpoint":
            for name, of_lines in _OF_LINES.items():
                yield f"{where}: {name}", _in_file(choose, _of_lines(of_lines))
    yield "segment: a stream gone", _in_file(_a_segment, _of_lines(_without_a_stream))
    yield "last segment: a stream gone", _in_file(_last, _of_lines(_without_a_stream))
    yield "last segment: the end zeroed", _in_file(_last, _zero_the_end)
    yield "last segment: cut at a line's end", _in_file(_last, _of_lines(_cut_lines))
    yield from _OF_FILES.items()


def _segments(files: Files) -> list[str]:
    return sorted(name for name in files if re.fullmatch(r"events-\d+\.jsonl", name))


def _a_segment(rng: random.Random, files: Files) -> str:
    return rng.choice(_segments(files))


def _last(_: random.Random, files: Files) -> str:
    return _segments(files)[-1]


def _chain(_: random.Random, __: Files) -> str:
    return CHAIN


def _checkpoint(_: random.Random, __: Files) -> str:
    return CHECKPOINT


OfBytes = Callable[[random.Random, bytes], bytes]
OfLines = Callable[[random.Random, list[bytes]], list[bytes]]


def _in_file(choose: Choose, change: OfBytes) -> Change:
    def changed(rng: random.Random, files: Files) -> None:
        name = choose(rng, files)
        files[name] = change(rng, files[name])

    return changed


def _of_lines(change: OfLines) -> OfBytes:
    return lambda rng, data: b"".join(change(rng, data.splitlines(keepends=True)))


def _range(rng: random.Random, length: int) -> tuple[int, int]:
    """A part of a sequence that is not empty: often short, at times all of it."""
    start = rng.randrange(length)
    longest = length - start
    return start, start + rng.randint(1, min(longest, rng.choice((1, 8, 100, longest))))


# Bytes.


def _flip_a_bit(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _zero(rng: random.Random, data: bytes) -> bytes:
    start, end = _range(rng, len(data))
    return data[:start] + bytes(end - start) + data[end:]


def _zero_the_end(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + bytes(len(data) - start)


def _delete(rng: random.Random, data: bytes) -> bytes:
    start, end = _range(rng, len(data))
    return data[:start] + data[end:]


def _double(rng: random.Random, data: bytes) -> bytes:
    start, end = _range(rng, len(data))
    return data[:end] + data[start:]


def _move(rng: random.Random, data: bytes) -> bytes:
    start, end = _range(rng, len(data))
    rest = data[:start] + data[end:]
    at = rng.randint(0, len(rest))
    return rest[:at] + data[start:end] + rest[at:]


def _scribble(rng: random.Random, data: bytes) -> bytes:
    start, end = _range(rng, len(data))
    return data[:start] + rng.randbytes(end - start) + data[end:]


def _insert(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.choice((b"\n", b"\0", b" ", rng.randbytes(9))) + data[at:]


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def _empty(_: random.Random, __: bytes) -> bytes:
    return b""


OF_BYTES: dict[str, OfBytes] = {
    "a bit flipped": _flip_a_bit,
    "bytes zeroed": _zero,
    "the end zeroed": _zero_the_end,
    "bytes deleted": _delete,
    "bytes doubled": _double,
    "bytes moved": _move,
    "bytes overwritten": _scribble,
    "bytes inserted": _insert,
    "cut anywhere": _cut,
    "emptied": _empty,
}
"""What becomes of the bytes of one file."""


# Lines.


def _delete_lines(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    start, end = _range(rng, len(lines))
    return lines[:start] + lines[end:]


def _double_lines(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    start, end = _range(rng, len(lines))
    return lines[:end] + lines[start:]


def _swap_lines(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return lines


def _shuffle(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    start, end = _range(rng, len(lines))
    part = lines[start:end]
    rng.shuffle(part)
    return lines[:start] + part + lines[end:]


def _cut_lines(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    return lines[: rng.randrange(len(lines))]


def _without_a_stream(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    """As if it had never been."""
    streams = sorted({line.split(b'"')[3] for line in lines if line.startswith(b'{"stream"')})
    gone = b'{"stream":"%b"' % rng.choice(streams) if streams else b"{"
    return [line for line in lines if not line.startswith(gone)]


_OF_LINES: dict[str, OfLines] = {
    "lines deleted": _delete_lines,
    "lines doubled": _double_lines,
    "lines swapped": _swap_lines,
    "lines reordered": _shuffle,
    "cut at a line's end": _cut_lines,
}


# Files.


def _swap_files(rng: random.Random, files: Files) -> None:
    one, other = rng.sample(_segments(files), 2)
    files[one], files[other] = files[other], files[one]


def _copy_over(rng: random.Random, files: Files) -> None:
    one, other = rng.sample([*_segments(files), CHAIN, CHECKPOINT], 2)
    files[one] = files[other]


def _remove(rng: random.Random, files: Files) -> None:
    del files[rng.choice([*_segments(files), CHAIN, CHECKPOINT])]


def _remove_several(rng: random.Random, files: Files) -> None:
    for name in rng.sample(_segments(files), rng.randint(1, len(_segments(files)))):
        del files[name]


def _remove_what_knows(_: random.Random, files: Files) -> None:
    del files[CHAIN], files[CHECKPOINT]


def _rename(rng: random.Random, files: Files) -> None:
    names = _segments(files)
    number = rng.choice((0, len(names) + 1, len(names) + 2, 99_999_999, rng.randrange(1, 9)))
    name = rng.choice((f"events-{number:08}.jsonl", f"events-{number}.jsonl"))
    files[name] = files.pop(rng.choice(names))


def _copy_as_newest(rng: random.Random, files: Files) -> None:
    names = _segments(files)
    files[f"events-{int(names[-1][7:15]) + 1:08}.jsonl"] = files[rng.choice(names)]


def _swap_ranges(rng: random.Random, files: Files) -> None:
    """Between two segments, at the ends of lines."""
    one, other = rng.sample(_segments(files), 2)
    first, second = (files[name].splitlines(keepends=True) for name in (one, other))
    a, b = _range(rng, len(first))
    c, d = _range(rng, len(second))
    files[one] = b"".join(first[:a] + second[c:d] + first[b:])
    files[other] = b"".join(second[:c] + first[a:b] + second[d:])


def _move_the_end(rng: random.Random, files: Files) -> None:
    """From one segment to the beginning, behind the header, of the next."""
    names = _segments(files)
    at = rng.randrange(len(names) - 1)
    lines = files[names[at]].splitlines(keepends=True)
    header, *rest = files[names[at + 1]].splitlines(keepends=True)
    kept = rng.randrange(1, len(lines)) if len(lines) > 1 else 1
    files[names[at]] = b"".join(lines[:kept])
    files[names[at + 1]] = b"".join([header, *lines[kept:], *rest])


def _another_checkpoint(rng: random.Random, files: Files) -> None:
    """A line of another kind, or a number, as an older version had it."""
    lines = b"".join(files.values()).splitlines(keepends=True)
    files[CHECKPOINT] = rng.choice((rng.choice(lines), b"3\n", b"{}\n"))


_OF_FILES: dict[str, Change] = {
    "two segments swapped": _swap_files,
    "a file copied over another": _copy_over,
    "a file deleted": _remove,
    "segments deleted": _remove_several,
    "chain and checkpoint deleted": _remove_what_knows,
    "a segment renamed": _rename,
    "a segment copied as the newest": _copy_as_newest,
    "lines swapped between segments": _swap_ranges,
    "lines moved to the next segment": _move_the_end,
    "another line as checkpoint": _another_checkpoint,
}


def read_files(directory: Path) -> Files:
    """What is in a log's directory, but for what is not of the log itself."""
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if path.name.startswith(("events-", CHAIN, CHECKPOINT))
    }


def write_files(directory: Path, files: Files, before: Files) -> None:
    """Make a directory that holds `before` hold these."""
    for name in before.keys() - files.keys():
        (directory / name).unlink()
    for name, data in files.items():
        if before.get(name) != data:
            (directory / name).write_bytes(data)
