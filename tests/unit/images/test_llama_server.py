"""How the server of the image `llm` waits for what is under way, by its own metrics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.images.llm.llama_server import SENT_AFTER, drain, under_way


def _metrics(processing: int, deferred: int = 0) -> str:
    head = "# HELP llamacpp:requests_processing Number\n# TYPE llamacpp:requests_processing gauge\n"
    return f"{head}llamacpp:requests_processing {processing}\nllamacpp:requests_deferred {deferred}\nllamacpp:n 7\n"


def test_what_is_answered_and_what_waits_is_under_way() -> None:
    assert under_way(_metrics(2, 3)) == 5
    assert under_way(_metrics(0)) == 0


def test_metrics_that_do_not_say_are_no_idle_server() -> None:
    with pytest.raises(ValueError, match="name 0 of llamacpp:requests_processing"):
        under_way("llamacpp:n 7\n")


def test_it_ends_once_nothing_has_been_under_way_for_a_while() -> None:
    told: Iterator[str] = iter([_metrics(1), _metrics(0, 1), _metrics(0), _metrics(1), *[_metrics(0)] * SENT_AFTER])
    assert drain(lambda: next(told), 60, lambda _: None) == 0
    assert list(told) == []


def test_it_says_what_it_breaks_off() -> None:
    assert drain(lambda: _metrics(2, 1), 0.05) == 3
