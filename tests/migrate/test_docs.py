"""docs/migrate.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from vmkit.migrate.facts import Facts
from vmkit.migrate.rules.catalogue import RULES
from vmkit.migrate.verdict import THRESHOLDS, Fit

PAGE = (Path(__file__).parents[2] / "docs" / "migrate.md").read_text(encoding="utf-8")


def test_every_rule_stands_in_the_documentation_as_it_is() -> None:
    rows = {
        match[1]: (match[2], match[3].strip(), match[4], match[5])
        for match in re.finditer(r"^\| `([\w.-]+)` \| (\w+) \|([ 0-9]*)\| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
        if "." in match[1]
    }
    assert rows == {
        rule.id: (str(rule.category), str(rule.weight or ""), rule.assessment, rule.remedy) for rule in RULES
    }


def test_every_word_and_its_scores_are_explained() -> None:
    upper = 100
    for least, fit in THRESHOLDS:
        assert f"| {fit} | {least} to {upper} |" in PAGE
        upper = least - 1
    for fit in Fit:
        assert f"| {fit} |" in PAGE


def test_every_key_of_the_document_is_explained() -> None:
    for name in Facts.__struct_encode_fields__:
        if name not in ("kind", "schemaVersion", "source", "notes"):
            assert f"`{name}`" in PAGE, name
