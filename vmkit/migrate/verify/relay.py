"""Connections into a network namespace that has none: opened inside by a small program, handed out as descriptors.

A container of a proof has no network but its own loopback: it can reach nothing, and nothing can reach it. The
program below is started in its namespace (nsenter) with vmkit's own Python, and opens connections on request; an
open socket keeps the namespace that it was made in.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from vmkit.errors import EvidenceError
from vmkit.migrate.verify.client import Dial
from vmkit.migrate.verify.processes import find_program, running

_ASKED: Final = struct.Struct(">Hf")
# Runs without vmkit on its path. A descriptor comes with "+", a failure with its errno.
_PROGRAM: Final = """
import socket, struct, sys
line = socket.socket(fileno=int(sys.argv[1]))
while True:
    asked = line.recv(6)
    if len(asked) < 6:
        break
    port, seconds = struct.unpack(">Hf", asked)
    try:
        opened = socket.create_connection(("127.0.0.1", port), timeout=seconds)
    except OSError as error:
        line.send(b"-" + str(error.errno or 110).encode())
        continue
    socket.send_fds(line, [b"+"], [opened.fileno()])
    opened.close()
"""


@contextmanager
def dialing_into(pid: int, port: int, *, output: IO[bytes]) -> Iterator[Dial]:
    """Opens connections to a port in the network namespace of a process, while the block lasts.

    Raises:
        MissingTool: nsenter is not installed.
    """
    nsenter = find_program("nsenter", "apt install util-linux")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # Without root, containers live in a user namespace that belongs to us, which has to be entered first.
    spaces = ["--net"] if os.geteuid() == 0 else ["--user", "--preserve-credentials", "--net"]
    command = [nsenter, "--target", str(pid), *spaces, sys.executable, "-I", "-S", "-c", _PROGRAM]
    with ours, theirs, running(
        [*command, str(theirs.fileno())], output=output, pass_fds=[theirs.fileno()]
    ) as child:  # fmt: skip
        theirs.close()

        def dial(seconds: float) -> socket.socket:
            ours.settimeout(seconds + 10)
            ours.send(_ASKED.pack(port, seconds))
            said, descriptors, _, _ = socket.recv_fds(ours, 16, 1)
            if not said:
                raise EvidenceError(
                    f"the container's network cannot be entered (nsenter ended with {child.wait(10)})"
                )
            if not descriptors:
                number = int(said[1:])
                raise OSError(number, os.strerror(number))
            opened = socket.socket(fileno=descriptors[0])
            opened.settimeout(seconds)
            return opened

        yield dial


def listens_beyond_loopback(pid: int, port: int) -> bool:
    """Whether something in a process's network namespace listens on a port for more than loopback.

    From /proc/PID/net/tcp and tcp6 (proc(5)); where they cannot be read nothing is held against it.
    """
    found = False
    for name, loopback in (("tcp", "0100007F"), ("tcp6", "00000000000000000000000001000000")):
        try:
            rows = Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            return True
        for row in rows:
            words = row.split()
            address, _, number = words[1].partition(":")
            if words[3] == "0A" and int(number, 16) == port:
                found = True
                if address != loopback and not address.endswith("7F"):
                    return True
    return not found
