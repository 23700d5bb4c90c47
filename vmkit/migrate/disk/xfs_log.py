"""Whether an XFS log is clean. What a dirty one holds is not replayed here, so that has to be said.

The layout is the one of fs/xfs/libxfs/xfs_log_format.h; the last record of a log that was closed properly holds
one operation, which says "unmounted" (xlog_check_unmount_rec in fs/xfs/xfs_log_recover.c).
"""

from __future__ import annotations

import struct
from typing import Final

from vmkit.migrate.disk.device import Device

_MAGIC: Final = b"\xfe\xed\xba\xbe"
_SECTOR: Final = 512
_PIECE_BYTES: Final = 2**20
_MAX_LOG_BYTES: Final = 2**31  # XFS_MAX_LOG_BYTES
_CYCLE_BYTES: Final = 32 * 1024  # XLOG_HEADER_CYCLE_SIZE
_UNMOUNTED: Final = 0x20


def is_clean(device: Device, start: int, length: int) -> bool:
    """Whether the newest record of the log says that the file system was unmounted.

    Args:
        device: the volume.
        start, length: the log, in bytes.

    Raises:
        DamagedImage: the log lies outside of its volume.
    """
    newest, place = -1, -1
    for offset in range(0, min(length, _MAX_LOG_BYTES), _PIECE_BYTES):
        piece = device.read(start + offset, min(_PIECE_BYTES, length - offset))
        at = piece.find(_MAGIC)
        while at >= 0:
            if at % _SECTOR == 0 and at + 24 <= len(piece):
                (lsn,) = struct.unpack_from(">Q", piece, at + 16)
                if lsn > newest:
                    newest, place = lsn, offset + at
            at = piece.find(_MAGIC, at + 1)
    if place < 0:
        return False
    header = device.read(start + place, _SECTOR)
    (version,) = struct.unpack_from(">I", header, 8)
    (operations,) = struct.unpack_from(">I", header, 40)
    (size,) = struct.unpack_from(">I", header, 320)
    headers = max(1, -(-size // _CYCLE_BYTES)) if version & 2 else 1
    # The log is a ring: the record's data may lie at its beginning.
    first = start + (place + min(headers, 8) * _SECTOR) % length
    operation = device.read(first, 12)
    return operations == 1 and bool(operation[9] & _UNMOUNTED)
