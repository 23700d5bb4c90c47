"""All rules."""

from __future__ import annotations

from typing import Final

from vmkit.migrate.rules import guest, service, wasm
from vmkit.migrate.rules.model import Rule

RULES: Final[tuple[Rule, ...]] = (*guest.RULES, *service.RULES, *wasm.RULES)
BY_ID: Final[dict[str, Rule]] = {rule.id: rule for rule in RULES}
