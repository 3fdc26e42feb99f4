"""The language model on the cluster, moved by the plain `pulumi` CLI while conversations go on: there, with its Job
killed, then with a pod of ours killed in mid-stream. Then all other components by one command, and all back by another,
while transfers and conversations go on. One load of conversations runs through it all. Each run is bounded."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cli.journeys import ORDER
from contracts import names
from contracts.llm import Endpoints
from contracts.stages import Component, Side, Stage, backend_of, serving_backend
from cutover.tables import Step
from local.demo.chat import KIND, Chats
from local.demo.pod import JUDGE
from tests.e2e.chaos import Run, remove_runs, settled
from tests.e2e.journey import Stack, Windows, clean_client
from validation.chat.judging import WHOLE
from validation.probes.targets import PATHS
from validation.result import Verdict

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

HOSTED, OURS = (backend_of(Component.LLM_SERVICE, side) for side in Side)
RATE = 0.7
"""Calls a second: what a small model answers beside the gate's questions on two cores."""
TRANSFERS = 50.0
"""A second, beside the conversations and the market's feed: a load of events as well finds no room on two cores."""
STALL_MS = 3000.0
"""Of transfers, on two cores, which bank, engine, servers and cluster share."""
API_STALL_MS = 5000.0
"""Of any answer of any service's API, likewise: the engine's positions wait while the database changes sides."""
AROUND = 10.0
_ENDPOINTS = f"import os; print(os.environ['{names.ENV_LLM_ENDPOINTS}'])"
_ASK = f"""
import json, os, urllib.request as r
body = {{"model": "default", "stream": True, "max_tokens": 600, "temperature": 0, "ignore_eos": True,
        "messages": [{{"role": "user", "content": "Count from one to one thousand, in words."}}]}}
request = r.Request(os.environ["{names.ENV_LLM_ORCHESTRATOR_URL}"] + "/chat/completions",
                    json.dumps(body).encode(), {{"content-type": "application/json"}})
for line in r.urlopen(request, timeout=120):
    if line.startswith(b"data: "):
        print(line.decode().removeprefix("data: ").strip(), flush=True)
"""
"""One long stream; its events, a line each, as they come."""


windows = Windows()


@pytest.fixture(scope="module")
def llm(stack: Stack) -> Stack:
    """The stack, seen from the language model, at mvp."""
    found = stack.of(Component.LLM_SERVICE)
    if found.route()[0].stage is not Stage.MVP:
        found.bring_to(Stage.MVP)
    return found


@pytest.fixture(scope="module")
def chats(llm: Stack) -> Iterator[Chats]:
    """The conversations of all of them."""
    with llm.chats(RATE) as made:
        yield made


@pytest.fixture(autouse=True)
def no_run_stays(stack: Stack) -> Iterator[None]:
    """The runs beside Pulumi are removed in the end; not before, for the next one sees by their pods that they died."""
    yield
    remove_runs(stack)


def selector_of_ours(llm: Stack) -> str:
    """The pods that answer `default` on our side, by what the orchestrator is told."""
    where = f"deployment/{names.LLM_ORCHESTRATOR_NAME}"
    told = Endpoints.parse(llm.kubectl.run("exec", where, "--", "python", "-c", _ENDPOINTS))
    host = urlsplit(told.of(OURS, "default").base_url).hostname or ""
    service: Any = llm.kubectl.get("service", host.split(".")[0])
    assert service is not None, f"there is no Service {host}"
    return ",".join(f"{label}={value}" for label, value in service["spec"]["selector"].items())


@contextmanager
def long_stream(llm: Stack) -> Iterator[Iterator[str]]:
    """The events of one long stream from within the load's pod."""
    command = ["kubectl", "--namespace", names.NAMESPACE, "exec", KIND.pod, "-c", JUDGE, "--", "python", "-c", _ASK]
    with subprocess.Popen(command, env=llm.env, text=True, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield iter(process.stdout)
        finally:
            process.kill()


def test_a_run_killed_before_it_opens_changes_nothing_and_an_update_goes_on(llm: Stack, chats: Chats) -> None:
    llm.bring_to(Stage.SHADOW)
    with windows.of("there"):
        Run(llm, Stage.SCALE, "die", Step.OPEN).await_death()
        assert llm.route()[0].active == HOSTED
        llm.bring_to(Stage.SCALE)  # judged already, by the run that was killed
        assert settled(llm.route()[0], Stage.SCALE)
        chats.hold(AROUND, "conversations with our own models")


@contextmanager
def without_any(llm: Stack, ours: str) -> Iterator[None]:
    """No pod of ours, as where a node died and no other has room: those that there are end as by SIGKILL."""
    # First, for a pod that is told to end finishes what it is about.
    llm.kubectl.run("delete", "pod", "-l", ours, "--grace-period=0", "--force")
    llm.kubectl.run("scale", "deployment", "-l", ours, "--replicas=0")
    try:
        yield
    finally:
        llm.kubectl.run("scale", "deployment", "-l", ours, "--replicas=1")
        llm.kubectl.run("rollout", "status", "deployment", "-l", ours, "--timeout=240s", timeout=260)


def test_a_pod_of_ours_killed_in_mid_stream_breaks_its_own_streams_and_no_other(llm: Stack, chats: Chats) -> None:
    ours = selector_of_ours(llm)
    with windows.of("killed"), long_stream(llm) as events:
        assert "error" not in json.loads(next(events))
        with without_any(llm, ours):
            last = list(events)[-1]
            assert json.loads(last)["error"]["message"], last  # not a part that looks like the whole
            with windows.of("alone"):
                chats.hold(AROUND, "conversations without one of our models")
    with windows.of("again"):  # what failed is asked anew after 10 s at most
        chats.hold(2 * AROUND, "conversations with our own models again")


def legs(said: str) -> dict[str, Any]:
    """What became of each component, by its name."""
    return {leg["component"]: leg for leg in json.loads(said)["legs"]}


def outcomes(said: str) -> list[str]:
    """The same, in order."""
    return [leg["outcome"] for leg in legs(said).values()]


def serving(stack: Stack) -> dict[str, str]:
    """Who serves, by component, as the live routes have it."""
    return {component.value: stack.of(component).route()[0].active for component in ORDER}


@contextmanager
def held(stack: Stack) -> Iterator[None]:
    """The freeze file is there."""
    freeze = stack.root / "FREEZE"
    freeze.write_text("the books are closed")
    try:
        yield
    finally:
        freeze.unlink()


def test_all_the_others_there_step_by_step_and_all_back_at_once(llm: Stack, chats: Chats) -> None:
    for component in (Component.EVENT_BUS, Component.DATABASE, Component.BACKTESTING):
        llm.of(component).ask_for(Stage.SHADOW)
    llm.pulumi.up()  # wherever other tests left them
    with llm.bank(TRANSFERS) as bank, llm.probes() as probes:
        bank.hold(AROUND, "transfers on the hosted side")
        assert outcomes(llm.crossover("migrate", "--all", "--one", "--json", status=3)) == [
            "moved", "there", "left", "left"
        ]  # fmt: skip
        with held(llm):
            assert not llm.crossover("migrate", "--all", "--json", status=3)
        with windows.of("others"):
            there = llm.crossover("migrate", "--all", "--json")
        assert outcomes(there) == ["there", "there", "moved", "moved"]
        assert serving(llm) == {c.value: serving_backend(c, Stage.SCALE) for c in ORDER}
        bank.hold(AROUND, "transfers on our own side")
        with windows.of("back"):
            back = llm.crossover("rollback", "--all", "--json")
            chats.hold(AROUND, "conversations with the hosted models")
        assert outcomes(back) == ["moved"] * 4
        assert serving(llm) == {c.value: serving_backend(c, Stage.SHADOW) for c in ORDER}
        spans = {name: windows.spans[name] for name in ("others", "back")}
        asked = clean_client(probes, spans)  # no service was away, not for one probe
        transfers = clean_client(bank, spans)
    print({name: leg["seconds"] for said in (there, back) for name, leg in legs(said).items()})
    for name, report in transfers.items():
        assert report.figures["stall_ms_max"] < STALL_MS, name
    for name, report in asked.items():
        print(name, report.figures)
        stalls = {service: report.figures[f"{service} max_ms"] for service in PATHS}
        assert max(stalls.values()) < API_STALL_MS, (name, stalls)


def test_of_all_that_no_conversation_lost_an_answer_or_had_one_twice(chats: Chats) -> None:
    chats.stop()
    reports = chats.judge(windows.spans, 0.0)
    for name in ("there", "back"):  # nothing but a switch
        # In a short one perhaps no conversation asked twice, so that nothing can be said of who stays where.
        wrong = [check for check in reports[name].failures() if check.outcome is Verdict.DOES_NOT_HOLD]
        assert not wrong, "\n".join(f"{name}: {check.name}: {check.found} {check.detail}" for check in wrong)
        # Both sides answered in each window: the switch was really made under load.
        figures = reports[name].figures
        assert all(figures.get(f"acknowledged_{side}", 0) > 0 for side in (HOSTED, OURS)), (name, figures)
    whole, alone, again = (reports[name].figures for name in (WHOLE, "alone", "again"))
    assert not any(whole[name] for name in ("lost", "doubled", "refused", "torn")), reports[WHOLE].failures()
    assert whole.get(f"broken_{HOSTED}", 0) == 0
    # Who asks anew is answered, by the other side.
    assert alone["broken"] == 0 and alone.get(f"acknowledged_{HOSTED}", 0) > 0, alone
    assert again.get(f"acknowledged_{OURS}", 0) > 0, again


def test_the_audit_log_tells_who_did_what_and_the_report_shows_it(llm: Stack, tmp_path: Path) -> None:
    """Of whatever was done on this stack before."""
    assert "whole" in llm.crossover("audit", "verify")
    entries = [json.loads(line) for line in llm.crossover("audit", "list", "--json").splitlines()]
    ended = [entry for entry in entries if entry["kind"] == "transition ended"]
    assert {entry["component"] for entry in ended} == {component.value for component in ORDER}
    changed = [entry for entry in entries if entry["kind"] == "config changed"]
    assert changed and all("@" in entry["actor"] for entry in changed), changed[:1]
    page = tmp_path / "report.html"
    llm.crossover("report", "--out", str(page))
    written = page.read_text()
    assert all(component.value in written for component in ORDER)
    assert ended[-1]["data"]["outcome"] in written
