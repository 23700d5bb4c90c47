"""Users and groups with their ids: passwd(5) and group(5). Password hashes are not read."""

from __future__ import annotations

from typing import Final

from vmkit.migrate.facts import Group, User
from vmkit.migrate.tree.rooted import Tree

_MAX_ACCOUNTS: Final = 5000
_NO_LOGIN: Final = ("nologin", "false", "sync", "halt", "shutdown")


def inspect_users(tree: Tree) -> list[User]:
    """The users of /etc/passwd; lines that are none are left out."""
    found: list[User] = []
    for line in tree.read_lines("/etc/passwd")[:_MAX_ACCOUNTS]:
        fields = line.split(":")
        if len(fields) == 7 and _is_id(fields[2]) and _is_id(fields[3]):
            name, _, uid, gid, _, home, shell = fields
            login = bool(shell) and shell.rsplit("/", 1)[-1] not in _NO_LOGIN
            found.append(User(name=name, uid=int(uid), gid=int(gid), home=home, shell=shell, login=login))
    return found


def inspect_groups(tree: Tree) -> list[Group]:
    """The groups of /etc/group; lines that are none are left out."""
    found: list[Group] = []
    for line in tree.read_lines("/etc/group")[:_MAX_ACCOUNTS]:
        fields = line.split(":")
        if len(fields) == 4 and _is_id(fields[2]):
            found.append(
                Group(name=fields[0], gid=int(fields[2]), members=[one for one in fields[3].split(",") if one])
            )
    return found


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10
