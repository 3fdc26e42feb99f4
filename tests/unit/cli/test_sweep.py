"""`crossover sweep`: the Job of a sweep, what becomes of it, and what the command makes of the answers."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.backtesting.sweeps.cells import sweep_of
from adapters.routes import jobs, sweep_jobs
from adapters.routes.base import RouteConflict, RouteMissing
from adapters.routes.kubernetes import client
from adapters.routes.rest import Answer
from adapters.routes.sweep_jobs import KubernetesSweeps, NoSweep, SweepJob, standing, sweep_job
from cli import sweep as command
from cli.__main__ import app
from cli.errors import CliError
from contracts import names
from contracts.backtests import FiguresModel
from contracts.stages import Stage
from contracts.sweeps import HeatMap, Row, Standing, Sweep, SweepAsked, SweepState
from tests.components.rendering import at, render

ASKED = {"strategy": "sma_cross", "symbol": "SP500", "grid": {"fast": [5, 10], "slow": [20, 30]}, "cells_per_index": 1}
NOW = datetime(2026, 1, 1, 12, 10, tzinfo=UTC)


def deployment() -> dict[str, Any]:
    return copy.deepcopy(at(Stage.SCALE).one("Deployment", names.BACKTESTING_NAME).manifest)


def sweep(**change: Any) -> Sweep:
    return sweep_of(SweepAsked.model_validate({**ASKED, **change}), "vectorbt", ("x",), 500)


# -- the Job


def test_its_pods_are_like_the_services_without_its_volume_probes_rights_and_token() -> None:
    job = sweep_job(deployment(), sweep(), "sweep-1", parallelism=9)
    pattern = deployment()["spec"]["template"]["spec"]
    pod = job["spec"]["template"]["spec"]
    (container,), (service,) = pod["containers"], pattern["containers"]
    for key in ("image", "resources", "securityContext", "imagePullPolicy"):
        assert container[key] == service[key]
    assert pod["securityContext"] == pattern["securityContext"]
    assert pod["automountServiceAccountToken"] is False and "serviceAccountName" not in pod
    assert pod["restartPolicy"] == "Never"
    assert [volume["name"] for volume in pod["volumes"]] == [m["name"] for m in container["volumeMounts"]] == ["tmp"]
    assert not {"readinessProbe", "livenessProbe", "startupProbe", "ports"} & set(container)
    assert container["command"] == ["python", "-m", "services.backtesting_service.sweeping"]
    assert container["args"] == ["run", "--sweep", sweep().id]
    env = {one["name"]: one.get("value") for one in container["env"]}
    assert env[names.ENV_BACKTESTING_URL] == "http://backtesting-service:8000"
    assert env["NUMBA_CACHE_DIR"].startswith("/tmp/")  # noqa: S108 - the pod's own
    assert not {names.ENV_ROUTES, names.ENV_RESULTS_PATH, names.ENV_POD_NAME} & set(env)


def test_its_pods_have_the_users_strategies_where_the_service_has_them_and_no_secret() -> None:
    given = render({"backtesting": {"strategies": "mine"}}).one("Deployment", names.BACKTESTING_NAME).manifest
    live = copy.deepcopy(given)
    pattern = live["spec"]["template"]["spec"]
    (service,) = pattern["containers"]
    # As somebody's admission, or a later version, may add them.
    pattern["volumes"] += [{"name": "key", "secret": {"secretName": "key"}}, {"name": "token", "projected": {}}]
    service["volumeMounts"] += [{"name": "key", "mountPath": "/key"}, {"name": "token", "mountPath": "/token"}]
    service["envFrom"] = [{"secretRef": {"name": "key"}}]
    service["env"] += [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "key", "key": "key"}}}]
    pod = sweep_job(live, sweep(), "sweep-1", parallelism=1)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp", "strategies"]
    assert {"name": "strategies", "configMap": {"name": "mine"}} in pod["volumes"]
    assert {"name": "strategies", "mountPath": "/strategies", "readOnly": True} in container["volumeMounts"]
    assert {one["name"]: one["value"] for one in container["env"]}[names.ENV_STRATEGIES_PATH] == "/strategies"
    assert pod["automountServiceAccountToken"] is False and "key" not in json.dumps(pod).lower()


def test_it_is_indexed_tries_a_piece_again_and_counts_no_eviction() -> None:
    spec = sweep_job(deployment(), sweep(), "sweep-1", parallelism=9, max_failed=2)["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 4)
    assert (spec["backoffLimitPerIndex"], spec["maxFailedIndexes"]) == (3, 2)
    ignored, refused = spec["podFailurePolicy"]["rules"]
    assert ignored == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert (refused["action"], refused["onExitCodes"]["values"]) == ("FailIndex", [78])
    assert refused["onExitCodes"]["containerName"] == spec["template"]["spec"]["containers"][0]["name"]
    assert "suspend" not in spec and spec["ttlSecondsAfterFinished"] > 86_400
    queued = sweep_job(deployment(), sweep(), "sweep-1", parallelism=9, queue="night")
    assert queued["spec"]["suspend"] is True and "maxFailedIndexes" not in queued["spec"]
    assert queued["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "night"


@pytest.mark.parametrize("queue", [None, "night"])
def test_the_api_knows_all_of_its_fields(queue: str | None) -> None:
    job = sweep_job(deployment(), sweep(), "sweep-1", parallelism=2, queue=queue, max_failed=1)
    serializer = client.ApiClient()
    read = serializer.deserialize(json.dumps(job), "V1Job", "application/json")
    assert serializer.sanitize_for_serialization(read) == job


def test_its_pods_reach_the_service_and_nothing_else_but_names() -> None:
    labels = sweep_job(deployment(), sweep(), "sweep-1", parallelism=1)["spec"]["template"]["metadata"]["labels"]
    policies = [one.manifest["spec"] for one in at(Stage.SCALE).of("NetworkPolicy")
                if one.manifest["metadata"]["namespace"] == names.NAMESPACE]  # fmt: skip
    ours = [
        policy for policy in policies if policy["podSelector"].get("matchLabels", {}).items() <= labels.items()
    ]  # fmt: skip
    egress = [rule for policy in ours for rule in policy.get("egress", [])]
    assert {port["port"] for rule in egress for port in rule["ports"]} == {53, names.HTTP_PORT}
    (front,) = (rule for rule in egress if rule["ports"][0]["port"] == names.HTTP_PORT)
    assert front["to"] == [{"podSelector": {"matchLabels": {"app": names.BACKTESTING_NAME}}}]
    assert not [rule for policy in ours for rule in policy.get("ingress", [])]
    (service,) = (p for p in policies if p["podSelector"].get("matchLabels") == {"app": names.BACKTESTING_NAME})
    assert {"podSelector": {"matchLabels": {"app": labels["app"]}}} in service["ingress"][0]["from"]


# -- what its status says


def live(name: str = "sweep-1", **status: Any) -> dict[str, Any]:
    job = sweep_job(deployment(), sweep(), name, parallelism=2)
    return {**job, "status": {"startTime": "2026-01-01T12:00:00Z", **status}}


def condition(kind: str, **more: str) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T12:05:00Z", **more}]}


def test_progress_and_what_is_left_are_told_by_the_jobs_own_status() -> None:
    found = standing(live(completedIndexes="0,2", active=2), NOW)
    assert (found.state, found.completed, found.failed, found.active) == ("running", frozenset({0, 2}), frozenset(), 2)
    assert found.progress.left_seconds == 600.0  # two took 10 minutes
    assert standing(live(completedIndexes="0-3", **condition("Complete")), NOW).state == "done"
    failed = standing(live(completedIndexes="0", failedIndexes="1-3", **condition("Failed", message="worn")), NOW)
    assert (failed.state, failed.failed, failed.why) == ("failed", frozenset({1, 2, 3}), "worn")
    assert failed.progress.seconds == 300.0
    queued = sweep_job(deployment(), sweep(), "sweep-1", parallelism=2, queue="night")
    assert standing(queued, NOW).state == "queued"


# -- begun, and ended


class Cluster:
    """The Jobs of an API server. `faster`: a Job that somebody else makes just before ours."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.faster: dict[str, Any] | None = None

    def call(self, api: Any, method: str, path: str, *, query: Sequence[tuple[str, str]] = (), body: Any = None,
             timeout: float = 0) -> Answer:  # fmt: skip
        del api, timeout
        name = path.rpartition("/")[2]
        if path.endswith(f"/deployments/{names.BACKTESTING_NAME}"):
            return _answer(deployment())
        if method == "POST":
            if self.faster is not None:
                self.jobs[self.faster["metadata"]["name"]] = self.faster
            if body["metadata"]["name"] in self.jobs:
                raise RouteConflict("it is there")
            self.jobs[body["metadata"]["name"]] = body
            return _answer(body)
        if method == "GET" and query:
            key, _, value = query[0][1].partition("=")
            return _answer(
                {"items": [job for job in self.jobs.values() if job["metadata"]["labels"].get(key) == value]}
            )
        if name not in self.jobs:
            raise RouteMissing("it is not there")
        return _answer(self.jobs.pop(name) if method == "DELETE" else self.jobs[name])


def _answer(found: Any) -> Answer:
    return Answer(json.dumps(found).encode(), {})


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(jobs, "call", made.call)
    monkeypatch.setattr(sweep_jobs, "call", made.call)
    return made


def test_the_same_sweep_twice_is_one_job_whatever_its_name(cluster: Cluster) -> None:
    sweeps = KubernetesSweeps(None, names.NAMESPACE)
    first, new = sweeps.begin(sweep(), "one", parallelism=2)
    assert new and (first.name, first.state) == ("one", "running")
    assert sweeps.begin(sweep(), "two", parallelism=4) == (first, False)
    assert list(cluster.jobs) == ["one"]
    assert sweeps.begin(sweep(fees=0.0), "other", parallelism=1)[1]


def test_two_who_submit_at_once_make_one_job(cluster: Cluster) -> None:
    cluster.faster = live("one")
    found, new = KubernetesSweeps(None, names.NAMESPACE).begin(sweep(), "one", parallelism=2)
    assert (found.name, new) == ("one", False)
    cluster.jobs.clear()
    with pytest.raises(NoSweep, match="another one: it is left as it is"):
        KubernetesSweeps(None, names.NAMESPACE).begin(sweep(fees=0.0), "one", parallelism=2)


def test_a_job_that_has_ended_makes_room_and_one_that_is_no_sweeps_stays(cluster: Cluster) -> None:
    sweeps = KubernetesSweeps(None, names.NAMESPACE)
    cluster.jobs["one"] = live("one", **condition("Failed"))
    assert sweeps.begin(sweep(), "one", parallelism=2)[1]
    assert "status" not in cluster.jobs["one"]
    cluster.jobs["mine"] = {"metadata": {"name": "mine", "labels": {}}, "spec": {}}
    for meets in (lambda: sweeps.begin(sweep(fees=0.0), "mine", parallelism=2), lambda: sweeps.cancel("mine")):
        with pytest.raises(NoSweep, match="Job mine is no sweep: it is left as it is"):
            meets()
    assert "mine" in cluster.jobs


def test_a_sweep_that_is_cancelled_is_gone_and_can_be_begun_again(cluster: Cluster) -> None:
    sweeps = KubernetesSweeps(None, names.NAMESPACE)
    sweeps.begin(sweep(), "one", parallelism=2)
    assert sweeps.cancel("one").sweep_id == sweep().id
    assert cluster.jobs == {}
    with pytest.raises(NoSweep, match="there is no sweep one here"):
        sweeps.find("one")
    assert sweeps.begin(sweep(), "one", parallelism=2)[1]


# -- the command


class Sweeps:
    """Answers as it is told."""

    done: tuple[int, ...] = ()
    error = ""
    job: SweepJob
    new = True
    asked: tuple[Any, ...] = ()

    def __init__(self, api: Any, namespace: str) -> None:
        del api, namespace

    def ask(self, arguments: list[str], env: dict[str, str]) -> tuple[int, str]:
        Sweeps.asked = (arguments, env)
        if Sweeps.error:
            return 78, "ERROR refused\n" + json.dumps({"error": Sweeps.error})
        if arguments[0] == "delete":
            return 0, json.dumps({"deleted": arguments[2]})
        state = SweepState(sweep=sweep(), done=list(Sweeps.done))
        answer = state if arguments == ["register"] else shown(state)
        return 0, "INFO one line\n" + answer.model_dump_json(exclude_defaults=True)

    def begin(self, asked: Sweep, name: str, **how: Any) -> tuple[SweepJob, bool]:
        Sweeps.asked = (asked.id, name, how)
        return standing(live(name), NOW), Sweeps.new

    def find(self, name: str) -> SweepJob:
        del name
        return Sweeps.job

    cancelled: tuple[str, ...] = ()

    def cancel(self, name: str) -> SweepJob:
        Sweeps.cancelled += (name,)
        return Sweeps.job

    def of(self, sweep_id: str) -> list[SweepJob]:
        return [Sweeps.job] if sweep_id == Sweeps.job.sweep_id else []


def shown(state: SweepState) -> Standing:
    figures = FiguresModel(
        final_equity=1.0, total_return=0.25, max_drawdown=0.1, sharpe=1.5, trades=7, win_rate=None, fees_paid=0.0
    )
    day = date(2020, 1, 1)
    rows = [
        Row(number=1, parameters={"fast": 5, "slow": 30}, first=day, last=day, figures=figures),
        Row(number=2, parameters={"fast": 10, "slow": 20}, first=day, last=day, error="it broke"),
    ]
    drawn = HeatMap(metric="sharpe", how="best", x="fast", y="", x_labels=["5"], y_labels=[], values=[[1.5]])
    return Standing(state=state, top=rows, run=2, failed=1, heat_map=drawn)


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(command, "connect", lambda context: None)
    monkeypatch.setattr(command, "KubernetesSweeps", Sweeps)
    monkeypatch.setattr(command._out, "_width", 200)
    made = {"done": (), "error": "", "new": True, "job": standing(live(), NOW), "cancelled": ()}
    for name, value in made.items():
        monkeypatch.setattr(Sweeps, name, value, raising=False)
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps(ASKED))
    return path


def told(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["sweep", *arguments], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.output


def test_a_sweep_is_submitted_and_named(spec: Path) -> None:
    Sweeps.done = (1,)
    output = told("submit", str(spec), "--parallelism", "2", "--queue", "night")
    name = f"sweep-{sweep().id[:12]}"
    assert Sweeps.asked == (sweep().id, name, {"parallelism": 2, "queue": "night", "max_failed": None})
    assert f"{name} begins, 1 of its pieces are there" in output and "4 cells in 4 pieces by vectorbt" in output
    Sweeps.new = False
    assert "mine is under way already" in told("submit", str(spec), "--name", "mine")


def test_what_is_done_is_not_begun_again(spec: Path) -> None:
    Sweeps.done = (0, 1, 2, 3)
    assert "there is nothing to do" in told("submit", str(spec))
    arguments, env = Sweeps.asked
    assert arguments == ["register"] and json.loads(env[names.ENV_SWEEP]) == ASKED


def test_what_the_service_refuses_is_told(spec: Path) -> None:
    Sweeps.error = "symbol is 'GOLD'"
    with pytest.raises(CliError, match="the backtesting service refused: symbol is 'GOLD'"):
        told("submit", str(spec))


def test_the_best_are_shown_and_drawn(spec: Path, tmp_path: Path) -> None:
    output = told("top", "sweep-1", "--count", "2")
    assert Sweeps.asked == (["show", "--sweep", sweep().id, "--top", "2"], {})
    for part in ("highest sharpe first", "1.5", "0.25", "it broke", "2 of 4 cells are run, 1 of them failed"):
        assert part in output
    assert json.loads(told("top", sweep().id, "--json"))["run"] == 2


def test_a_sweep_is_deleted_by_name_or_id_and_its_job_with_it(spec: Path) -> None:
    for name in ("sweep-1", sweep().id):
        assert f"sweep {sweep().id} is deleted" in told("delete", name)
        assert Sweeps.asked == (["delete", "--sweep", sweep().id], {})
    assert Sweeps.cancelled == ("sweep-1", "sweep-1")
    assert "is deleted" in told("delete", "f" * 32) and Sweeps.cancelled == ("sweep-1", "sweep-1")
    Sweeps.error = "there is no sweep"
    with pytest.raises(CliError, match="the backtesting service refused: there is no sweep"):
        told("delete", "sweep-1")


def test_a_status_is_told_and_a_sweep_that_failed_ends_it_with_1(spec: Path) -> None:
    assert "sweep-1: running, 0 of 4 pieces (0%), how long it takes is not known yet, 0 pods" in told("status", "s")
    assert json.loads(told("status", "s", "--json"))["pieces"] == 4
    Sweeps.job = standing(live(failedIndexes="1", completedIndexes="0,2-3", **condition("Failed", message="worn")), NOW)
    output = told("status", "s", status=1)
    assert "failed, 3 of 4 pieces (75%), 1 given up" in output and "worn; the rest goes on by the same" in output
    assert "which stay" in told("cancel", "s")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "asks for no sweep: it: Invalid JSON"),
        ('{"strategy": "sma_cross", "symbol": "SP500", "grid": {"fast": []}}', "fast has no values"),
        ('{"strategy": "sma_cross", "symbol": "SP500", "grids": {}}', "grids: Extra inputs"),
    ],
)
def test_a_spec_that_asks_for_no_sweep_is_told(spec: Path, text: str, why: str) -> None:
    spec.write_text(text)
    with pytest.raises(CliError, match=why):
        command.read_spec(spec)


def test_a_spec_that_fits_no_pod_and_a_name_that_no_job_can_have_are_told(spec: Path) -> None:
    with pytest.raises(CliError, match="can name no Job's pods"):
        told("submit", str(spec), "--name", "Mine!")
    values = [0.5 + number / 100_000 for number in range(20_000)]
    spec.write_text(json.dumps({"strategy": "bollinger", "symbol": "SP500", "grid": {"width": values}}))
    with pytest.raises(CliError, match="it cannot be given to a pod"):
        told("submit", str(spec))
    with pytest.raises(CliError, match="cannot be read"):
        command.read_spec(spec.parent / "none.json")
