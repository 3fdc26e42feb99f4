"""A small dynamic provisioner: a folder on the node for each claim of its storage classes.

It makes `local` volumes with node affinity, so kubelet applies fsGroup for non-root pods (to a
hostPath it would not). A new folder belongs to root, mode 0755, as a fresh disk's root does
in a cloud. Sizes are recorded but not enforced: there is no quota on a folder.
"""

from __future__ import annotations

import argparse
import json
import logging
import queue
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from local.cluster.settings import API_PORT, NODE_NAME, PROVISIONER_NAME

SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
RETRY_SECONDS = 1.0
WATCH_SECONDS = 300
"""How long one watch lasts before everything is listed again."""
log = logging.getLogger("provisioner")
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Provision:
    """Make this folder, then this volume."""

    folder: str
    volume: JsonObject


@dataclass(frozen=True, slots=True)
class Reclaim:
    """Remove this folder with its data, then this volume."""

    folder: str
    volume: str


Decision = Provision | Reclaim | None


def decide_claim(claim: JsonObject, reclaim_policy: str, delayed: bool, volumes: str) -> Decision:
    """What to do about a claim whose class has `reclaim_policy`; `delayed`: it waits for a pod."""
    metadata, spec = claim["metadata"], claim["spec"]
    annotations = metadata.get("annotations") or {}
    if (
        annotations.get(PROVISIONER) != PROVISIONER_NAME
        or spec.get("volumeName")
        or metadata.get("deletionTimestamp")
        or (claim.get("status") or {}).get("phase") != "Pending"
    ):
        return None
    if delayed and annotations.get(SELECTED_NODE) != NODE_NAME:
        return None
    name = f"pvc-{metadata['uid']}"
    folder = f"{volumes}/{name}"
    return Provision(folder, _volume(name, folder, claim, reclaim_policy))


def _volume(name: str, folder: str, claim: JsonObject, reclaim_policy: str) -> JsonObject:
    metadata, spec = claim["metadata"], claim["spec"]
    hostname = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {PROVISIONED_BY: PROVISIONER_NAME}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": reclaim_policy,
            "storageClassName": spec["storageClassName"],
            "local": {"path": folder},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [hostname]}]}},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        },
    }


def decide_volume(volume: JsonObject, volumes: str) -> Decision:
    """What to do about a volume: only one of ours, released, with policy Delete, is reclaimed."""
    metadata, spec = volume["metadata"], volume["spec"]
    annotations = metadata.get("annotations") or {}
    folder = (spec.get("local") or {}).get("path", "")
    if (
        annotations.get(PROVISIONED_BY) != PROVISIONER_NAME
        or (volume.get("status") or {}).get("phase") not in {"Released", "Failed"}
        or spec.get("persistentVolumeReclaimPolicy") != "Delete"
        or folder != f"{volumes}/{metadata['name']}"
    ):
        return None
    return Reclaim(folder, metadata["name"])


class Provisioner:
    """Watches claims and volumes and does what the decisions say."""

    def __init__(self, session: requests.Session, server: str, volumes: Path) -> None:
        self._session = session
        self._server = server
        self._volumes = volumes
        self._events: queue.Queue[tuple[str, JsonObject]] = queue.Queue()

    def run(self) -> None:
        """Until the process ends."""
        self._volumes.mkdir(parents=True, exist_ok=True)
        for plural in ("persistentvolumeclaims", "persistentvolumes"):
            threading.Thread(target=self._follow, args=(plural,), daemon=True).start()
        while True:
            plural, item = self._events.get()
            try:
                self._act(plural, item)
            except (requests.RequestException, OSError) as error:
                log.warning("%s %s: %s; tried again", plural, item["metadata"]["name"], error)
                again = threading.Timer(RETRY_SECONDS, self._events.put, [(plural, item)])
                again.daemon = True
                again.start()

    def _follow(self, plural: str) -> None:
        while True:
            try:
                for item in self._items(plural):
                    self._events.put((plural, item))
            except (requests.RequestException, ValueError, KeyError) as error:
                log.info("watch of %s: %s; started again", plural, error)
                time.sleep(RETRY_SECONDS)

    def _items(self, plural: str) -> Iterator[JsonObject]:
        """Each object there is, then each that is added or changes, until the watch ends."""
        address = f"{self._server}/api/v1/{plural}"
        listed = self._session.get(address, timeout=30)
        listed.raise_for_status()
        body = listed.json()
        yield from body["items"]
        query: dict[str, str | int] = {
            "watch": 1,
            "resourceVersion": body["metadata"]["resourceVersion"],
            "timeoutSeconds": WATCH_SECONDS,
        }
        with self._session.get(address, params=query, stream=True, timeout=(10, WATCH_SECONDS + 30)) as watched:
            watched.raise_for_status()
            # Lines must come through as they arrive, and iter_lines would wait for a full chunk.
            for line in watched.raw:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                if event["type"] in {"ADDED", "MODIFIED"}:
                    yield event["object"]

    def _act(self, plural: str, item: JsonObject) -> None:
        if plural == "persistentvolumes":
            decision = decide_volume(item, str(self._volumes))
        else:
            decision = self._decide_claim(item)
        if isinstance(decision, Provision):
            Path(decision.folder).mkdir(exist_ok=True)
            Path(decision.folder).chmod(0o755)
            answer = self._session.post(f"{self._server}/api/v1/persistentvolumes", json=decision.volume, timeout=30)
            if answer.status_code != requests.codes.conflict:  # Made before, by an event for the same claim.
                answer.raise_for_status()
            log.info("made %s", decision.folder)
        elif isinstance(decision, Reclaim):
            if Path(decision.folder).exists():
                shutil.rmtree(decision.folder)
            answer = self._session.delete(f"{self._server}/api/v1/persistentvolumes/{decision.volume}", timeout=30)
            if answer.status_code != requests.codes.not_found:
                answer.raise_for_status()
            log.info("removed %s", decision.folder)

    def _decide_claim(self, claim: JsonObject) -> Decision:
        annotations = claim["metadata"].get("annotations") or {}
        if annotations.get(PROVISIONER) != PROVISIONER_NAME:
            return None
        name = claim["spec"]["storageClassName"]
        answer = self._session.get(f"{self._server}/apis/storage.k8s.io/v1/storageclasses/{name}", timeout=30)
        answer.raise_for_status()
        body = answer.json()
        delayed = body.get("volumeBindingMode") == "WaitForFirstConsumer"
        return decide_claim(claim, body.get("reclaimPolicy", "Delete"), delayed, str(self._volumes))


def main() -> None:
    """Run inside the cluster's network namespace."""
    parser = argparse.ArgumentParser(prog="python -m local.cluster.provisioner")
    parser.add_argument("--pki", type=Path, required=True, help="folder with ca.crt, provisioner.crt, provisioner.key")
    parser.add_argument("--volumes", type=Path, required=True, help="folder to make the volumes in")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    session = requests.Session()
    session.trust_env = False
    session.verify = str(arguments.pki / "ca.crt")
    session.cert = (str(arguments.pki / "provisioner.crt"), str(arguments.pki / "provisioner.key"))
    Provisioner(session, f"https://127.0.0.1:{API_PORT}", arguments.volumes).run()


if __name__ == "__main__":
    main()
