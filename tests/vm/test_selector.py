from __future__ import annotations

import pytest

from vmkit.errors import UsageError
from vmkit.lab.semantics.selectors import parse_label_selector
from vmkit.vm.selector import check_selector


@pytest.mark.parametrize(
    "text",
    ["", " ", "app", "!app", "app=web", "app==web", "app!=web,tier=db", "app=", "a.b/c = d , !x", "env in (a,b)",
     "env notin(a, b)", "in in (in)", "x>5", "x<1", "x in (a,,b)"],
)  # fmt: skip
def test_what_a_server_takes_is_let_through(text: str) -> None:
    parse_label_selector(text)
    check_selector(text)


@pytest.mark.parametrize(
    "text",
    ["==", "=", "=a", "a=b,", ",a", "a,,b", "a b", "a in", "a in ()", "a in (b", "a=b=c", "!", "-a", "a/b/c",
     "x>y", "x<-1"],
)  # fmt: skip
def test_what_no_server_takes_is_named_with_how_one_is_written(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_selector(text)
    assert repr(text) in caught.value.message
    assert "app=web,tier!=test" in caught.value.hint
