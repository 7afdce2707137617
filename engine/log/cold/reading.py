"""A compressed segment as a file of its content, to be read at any place.

Nothing but the member at hand is in memory. The places of the others are learned from the headers
as far as they are needed, and each header is held against the one before it.
"""

import errno
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from engine import regular
from engine.log.cold import members
from engine.log.format import sealed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER_BYTES: Final = 1 << 16
"""How much is handed from a member to whoever reads lines."""


class Damaged(OSError):
    """Raised where a compressed segment is not as it was written.

    Args:
        place: of the member that is damaged, in bytes of the file.

    Attributes:
        offset: in the content, of what cannot be read.
        resume: offset from which on it can be read again; None: nowhere.
    """

    def __init__(
        self, path: Path, reason: str, place: int, offset: int, resume: int | None
    ) -> None:
        super().__init__(errno.EIO, f"{reason} (byte {place} of the file)", str(path))
        self.offset = offset
        self.resume = resume


class MemberFile(io.RawIOBase):
    """The content of a compressed segment. Its offsets are those of the segment before.

    Args:
        number: of the segment; None where it is not known.

    Raises:
        NotRegular, OSError: it cannot be opened.
    """

    def __init__(self, path: Path, number: int | None) -> None:
        super().__init__()
        self._fd = -1  # first: this is closed also where it cannot be opened
        self._fd = regular.open_regular(path, os.O_RDONLY)
        self._path = path
        self._number = number
        self._at = 0
        self._found: list[tuple[int, members.Member]] = []
        self._next = 0
        self._length: int | None = None
        self._index = -1
        self._content = b""

    def readable(self) -> bool:
        """Return true."""
        return True

    def seekable(self) -> bool:
        """Return true."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the compressed file."""
        return self._fd

    def close(self) -> None:
        """Give up the file."""
        if not self.closed and self._fd >= 0:
            os.close(self._fd)
        super().close()

    def tell(self) -> int:
        """Return the offset in the content."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset in the content.

        Raises:
            Damaged: its end cannot be found.
        """
        if whence == os.SEEK_CUR:
            offset += self._at
        elif whence == os.SEEK_END:
            while self._length is None:
                self._learn()
            offset += self._length
        if offset < 0:
            raise ValueError(f"negative offset {offset}")
        self._at = offset
        return offset

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Read what is left of the member at hand, or as much of it as there is room for.

        Raises:
            Damaged: the member is not as it was written.
        """
        view = memoryview(buffer).cast("B")
        index, start = divmod(self._at, members.CONTENT_BYTES)
        if not self._reaches(index):
            return 0
        part = memoryview(self._unpacked(index))[start : start + len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _reaches(self, index: int) -> bool:
        """Whether there is a member of that index that has content."""
        while len(self._found) <= index:
            if self._length is not None:
                return False
            self._learn()
        return True

    def _unpacked(self, index: int) -> bytes:
        if index != self._index:
            place, member = self._found[index]
            data = os.pread(self._fd, member.size, place)
            try:
                self._content = members.decode(member, data)
            except members.Malformed as error:
                resume = (index + 1) * members.CONTENT_BYTES  # what it says may be wrong
                raise Damaged(self._path, str(error), place, member.offset, resume) from None
            self._index = index
        return self._content

    def _learn(self) -> None:
        """Read the next header."""
        place = self._next
        before = self._found[-1][1] if self._found else None
        due = before.offset + before.content if before else 0
        try:
            member = members.parse_header(os.pread(self._fd, members.HEADER_BYTES, place))
            self._hold_against(member, place, due)
        except members.Malformed as error:
            raise Damaged(self._path, str(error), place, due, None) from None
        if member.is_end:
            self._length = member.offset
        else:
            self._found.append((place, member))
            self._next = place + member.size

    def _hold_against(self, member: members.Member, place: int, due: int) -> None:
        """Hold a header against the file, and the header before it.

        Args:
            due: where the content should go on.

        Raises:
            Malformed: it does not fit.
        """
        if self._number is None:
            self._number = member.segment
        if member.segment != self._number:
            raise members.Malformed(f"a compressed member of segment {member.segment} is here")
        if member.offset != due or (due % members.CONTENT_BYTES and not member.is_end):
            raise members.Malformed("a compressed member is missing or in another's place")
        left = os.fstat(self._fd).st_size - place - member.size
        if left < 0:
            raise members.Malformed("it ends before its last member")
        if member.is_end and (left or member.size != members.END_BYTES):
            raise members.Malformed("more follows its last member")
        if member.is_end:
            members.decode(member, os.pread(self._fd, member.size, place))


def open_members(path: Path, number: int | None) -> io.BufferedReader:
    """Open a compressed segment, to read its content.

    Raises:
        NotRegular, OSError: it cannot be opened.
    """
    return io.BufferedReader(MemberFile(path, number), BUFFER_BYTES)


def resume(file: BinaryIO, damaged: Damaged) -> int | None:
    """Go to the first line behind what is damaged.

    Returns:
        Its offset; None where nothing more can be read.
    """
    while damaged.resume is not None:
        file.seek(damaged.resume)
        try:
            file.readline(sealed.LINE_LIMIT)  # the rest of a line whose beginning is not known
        except Damaged as another:
            damaged = another
        else:
            return file.tell()
    return None
