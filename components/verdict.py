"""Prints a Transition's verdict at the laptop, after its Job.

A resource hook: it runs once the Job succeeded, and never decides anything. What it cannot read, it
says so and names the command that shows it; the update goes on. (The Job of a failed Transition shows
its last lines in Pulumi's error.)
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory
from typing import Any

import pulumi

from components.settings import Settings
from contracts.stages import Component

_LINES = 400
_SECONDS = 10.0
_READING = threading.Lock()
"""The client tells other threads, too, of the files that it wrote."""


def hook(component: Component, settings: Settings) -> pulumi.ResourceHook:
    """The hook of the Transition of `component`."""

    def after(args: pulumi.ResourceHookArgs) -> None:
        job = _name(args.new_outputs)
        namespace = settings.namespaces.backend
        try:
            log = _read_log(settings.kube_context, namespace, job)
        except Exception as error:
            log = ""
            logging.getLogger(__name__).debug("no log of %s", job, exc_info=error)
        pulumi.log.info(report(component, log) or missing(component, namespace, job))

    options = pulumi.ResourceHookOptions(ignore_errors=True)
    return pulumi.ResourceHook(f"verdict-{component.slug}", after, options)


def _name(outputs: Mapping[str, Any] | None) -> str:
    return str(((outputs or {}).get("metadata") or {}).get("name", ""))


def missing(component: Component, namespace: str, job: str) -> str:
    """What is said where the log could not be read."""
    return (
        f"{component.value}: the Transition succeeded; its verdict could not be read here. "
        f"See: kubectl logs -n {namespace} job/{job}"
    )


def report(component: Component, log: str) -> str | None:
    """The verdict of `log` as a table for people; None where it holds none."""
    found = _verdict(component, log.splitlines())
    if found is None:
        return None
    stage = found.get("stage") or "not established"
    lines = [f"{component.value}: VERDICT {found.get('verdict')}, at {stage}"]
    steps = found.get("steps") or []
    if not steps:
        lines.append("  nothing to do: the stage already held")
    shown = None
    for step in steps:
        if step["transition"] != shown:
            shown = step["transition"]
            lines.append(f"  {shown}")
        lines.append(f"    {step['step']:<16} {step['outcome']:<16} {step['seconds']:9.3f} s")
    if unaudited := found.get("unaudited"):
        lines.append(unaudited)
    return "\n".join(lines)


def _verdict(component: Component, lines: Sequence[str]) -> dict[str, Any] | None:
    for line in reversed(lines):
        if not line.startswith("{"):
            continue
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and found.get("version") == 1 and found.get("component") == component.value:
            return found
    return None


def _read_log(context: str, namespace: str, job: str) -> str:
    # Imported here: a preview, and an update without a Transition, do not pay for the client.
    from kubernetes import client, config

    # The client writes the kubeconfig's key into files that it removes as its process ends; Pulumi kills this one.
    with _READING, TemporaryDirectory(prefix="crossover-verdict-") as folder:
        access = client.Configuration()
        config.load_kube_config(context=context, client_configuration=access, temp_file_path=folder)
        core = client.CoreV1Api(client.ApiClient(access))
        pods = core.list_namespaced_pod(
            namespace, label_selector=f"batch.kubernetes.io/job-name={job}", _request_timeout=_SECONDS
        )
        return "".join(
            core.read_namespaced_pod_log(pod.metadata.name, namespace, tail_lines=_LINES, _request_timeout=_SECONDS)
            for pod in pods.items
        )
