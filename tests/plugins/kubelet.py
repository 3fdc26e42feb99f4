"""What a node's kubelet would write about pods, written by a test."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from tests.plugins.control_plane import ControlPlane


def now() -> str:
    """This moment as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Kubelet:
    """Plays the kubelet for the pods of one namespace."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._plane = plane
        self._namespace = namespace
        self._address = 1

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """The pods that no one has begun to delete."""
        found = self._plane.get(self._namespace, "pods", "-l", selector)["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready(self, pod: dict[str, Any]) -> None:
        """Its containers run and are ready."""
        state = {"running": {"startedAt": now()}}
        self._write(pod, "Running", state, ready=True)

    def fail(self, pod: dict[str, Any], code: int) -> None:
        """Its containers have ended with `code`, for good."""
        state = {"terminated": {"exitCode": code, "reason": "Error", "startedAt": now(), "finishedAt": now()}}
        self._write(pod, "Failed", state, ready=False)

    def succeed(self, pod: dict[str, Any]) -> None:
        """Its containers have ended well."""
        state = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now(), "finishedAt": now()}}
        self._write(pod, "Succeeded", state, ready=False)

    def has_no_image(self, pod: dict[str, Any]) -> None:
        """Its image is not on the node and may not be pulled."""
        state = {"waiting": {"reason": "ErrImageNeverPull", "message": "the image is not present"}}
        self._write(pod, "Pending", state, ready=False)

    def _write(self, pod: dict[str, Any], phase: str, state: dict[str, Any], *, ready: bool) -> None:
        yes = "True" if ready else "False"
        containers = [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": ready,
                "restartCount": 0,
                "started": ready,
                "state": state,
            }
            for container in pod["spec"]["containers"]
        ]
        conditions = [
            {"type": kind, "status": yes, "lastTransitionTime": now()} for kind in ("Ready", "ContainersReady")
        ]
        conditions.append({"type": "Initialized", "status": "True", "lastTransitionTime": now()})
        self._address += 1
        address = f"10.244.0.{self._address}"
        status = {
            **{"podIP": address, "podIPs": [{"ip": address}], "phase": phase, "startTime": now()},
            **{"conditions": conditions, "containerStatuses": containers},
        }
        self._plane.kubectl.run(
            *("patch", "pod", pod["metadata"]["name"], "-n", self._namespace),
            *("--subresource=status", "--type=merge", "-p", json.dumps({"status": status})),
        )
