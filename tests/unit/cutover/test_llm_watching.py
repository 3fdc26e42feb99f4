"""The budget of a switch, as a pure decision over what orchestrators tell."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.llm_moving import Budget
from contracts.registry import LEASE_SECONDS, PROTOCOL_VERSION, AdapterRecord
from cutover.errors import CouldNotCheck
from cutover.llm_service.figures import Asked, Figures, allowed, figures, judged
from services.llm_orchestrator.figures import Figures as Told
from validation.result import Verdict

BUDGET = Budget()


def record(name: str = "pod", age: float = 0.0, epoch: int = 3, **status: object) -> AdapterRecord:
    told: Mapping[str, str] = {key.replace("__", "."): str(value) for key, value in status.items()}
    return AdapterRecord(
        name, "llm-orchestrator", epoch, PROTOCOL_VERSION, age, status={**told, "epoch": str(epoch)}
    )  # fmt: skip


def test_figures_are_added_up_over_live_orchestrators_of_this_epoch() -> None:
    found = figures(
        [
            record(
                "a", vllm__calls=30, vllm__errors=1, vllm__ttft_p50_ms=100, vllm__ttft_p95_ms=300, vllm__in_flight=2
            ),
            record(
                "b", vllm__calls=10, vllm__fallbacks=2, vllm__ttft_p50_ms=200, vllm__ttft_p95_ms=250, vllm__in_flight=1
            ),
            record("older", epoch=2, vllm__calls=1000, vllm__errors=1000),
            record("dead", age=LEASE_SECONDS + 1, vllm__calls=1000, vllm__errors=1000),
        ],
        "vllm",
        3,
    )
    assert found == Figures(calls=40, errors=1, fallbacks=2, p50=125.0, p95=300.0, in_flight=3)
    assert found.failures == 2


def test_what_the_orchestrator_tells_is_what_a_switch_reads() -> None:
    told = Told()
    told.begin(3)
    for what, count in (
        ("calls", 9),
        ("answered", 6),
        ("errors", 2),
        ("fallbacks", 1),
        ("samples", 4),
        ("sample_errors", 3),
    ):
        for _ in range(count):
            told.count(3, "vllm", what)
    told.in_flight("vllm", 1)
    told.first_byte(3, "vllm", 0.25)
    at = AdapterRecord("pod", "llm-orchestrator", 3, PROTOCOL_VERSION, 0.0, status=told.status())
    assert figures([at], "vllm", 3) == Figures(
        calls=9, answered=6, errors=2, fallbacks=1, p50=250.0, p95=250.0, samples=4, sample_errors=3, in_flight=1
    )
    assert figures([at], "hosted", 3) == Figures(in_flight=0)


def test_a_side_that_is_not_asked_any_more_fails_all_that_was_meant_for_it() -> None:
    found = judged(Figures(calls=5, errors=5, fallbacks=40), None, Asked(), BUDGET)
    assert (found.verdict, found.found.split(",")[0]) == (Verdict.DOES_NOT_HOLD, "40 of 40 calls failed")


def test_who_does_not_tell_what_is_under_way_leaves_it_unknown() -> None:
    assert figures([record(vllm__calls=1, vllm__in_flight=0), record("b")], "vllm", 3).in_flight is None
    assert figures([], "vllm", 3).in_flight == 0


@pytest.mark.parametrize("told", ["many", "-1", "nan", "inf"])
def test_a_figure_that_is_none_is_not_taken_for_one(told: str) -> None:
    with pytest.raises(CouldNotCheck, match=r"pod tells vllm\.calls as"):
        figures([record(vllm__calls=told)], "vllm", 3)


@pytest.mark.parametrize(
    ("new", "old_p50", "asked", "verdict", "said"),
    [
        (Figures(calls=100, answered=99, errors=2, p50=90), 40.0, Asked(5), Verdict.HOLDS, "100 calls, 2 failed"),
        (Figures(calls=100, errors=3), None, Asked(), Verdict.DOES_NOT_HOLD, "3 of 100 calls failed, 2 may"),
        (Figures(calls=100, fallbacks=3), None, Asked(), Verdict.DOES_NOT_HOLD, "3 of 100 calls failed"),
        (Figures(calls=10, answered=9, errors=1), None, Asked(), Verdict.HOLDS, "10 calls, 1 failed"),
        (Figures(calls=2, errors=2), None, Asked(), Verdict.DOES_NOT_HOLD, "2 of 2 calls failed"),
        (Figures(), None, Asked(), Verdict.COULD_NOT_CHECK, "0 answers are known, it takes 5"),
        (Figures(calls=90, answered=4), None, Asked(), Verdict.COULD_NOT_CHECK, "4 answers are known"),
        (Figures(calls=21, answered=10), None, Asked(), Verdict.COULD_NOT_CHECK, "11 of 21 calls still wait"),
        (Figures(calls=20, answered=10), None, Asked(), Verdict.HOLDS, "20 calls"),
        (Figures(calls=4, answered=4, p50=1000), 10.0, Asked(), Verdict.COULD_NOT_CHECK, "4 answers are known"),
        (
            Figures(calls=9, answered=9, p50=301),
            100.0,
            Asked(),
            Verdict.DOES_NOT_HOLD,
            "takes 301 ms, 100 ms at the side",
        ),
        (
            Figures(calls=5, p50=301),
            100.0,
            Asked(),
            Verdict.DOES_NOT_HOLD,
            "5 of 5 calls wait: the first token",
        ),
        (Figures(calls=9, answered=4, p50=301), 100.0, Asked(), Verdict.DOES_NOT_HOLD, "5 of 9 calls wait"),
        (Figures(calls=4, p50=9000), 100.0, Asked(), Verdict.COULD_NOT_CHECK, "0 answers are known"),
        (Figures(calls=5, p50=300), 100.0, Asked(), Verdict.COULD_NOT_CHECK, "0 answers are known"),
        (Figures(calls=9, p50=9000), None, Asked(), Verdict.COULD_NOT_CHECK, "0 answers are known"),
        (Figures(calls=9, answered=9, p50=300), 100.0, Asked(), Verdict.HOLDS, "first token after 300 ms"),
        (Figures(calls=9, answered=9, p50=100), 1.0, Asked(), Verdict.HOLDS, "first token after 100 ms"),
        (Figures(calls=9, answered=9), 1.0, Asked(6, 2, "it is empty"), Verdict.DOES_NOT_HOLD, "2 of 6 questions"),
    ],
)
def test_the_budget(new: Figures, old_p50: float | None, asked: Asked, verdict: Verdict, said: str) -> None:
    found = judged(new, old_p50, asked, BUDGET)
    assert found.verdict is verdict and said in found.found


@given(calls=st.integers(0, 10_000), failed=st.integers(0, 10_000))
def test_it_is_crossed_by_no_fewer_failures_than_the_rate_and_never_by_the_first_alone(calls: int, failed: int) -> None:
    verdict = judged(Figures(calls=calls, errors=failed), None, Asked(), BUDGET).verdict
    crossed = verdict is Verdict.DOES_NOT_HOLD
    assert crossed is (failed > allowed(calls, BUDGET))
    if crossed:
        assert failed > 1 and failed > BUDGET.error_rate * calls - 1
    assert judged(Figures(calls=calls, errors=max(failed, 1)), None, Asked(), Budget(error_rate=0)).verdict is (
        Verdict.DOES_NOT_HOLD
    )
