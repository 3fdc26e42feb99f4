"""What the cluster's parts decide: volumes, images, pods to restart, names, forwarding."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from local.cluster import containers, forwarder, namespaces, processes, provisioner, units
from local.cluster.lifecycle import locked, make_listener
from local.cluster.provisioner import Provision, Reclaim, decide_claim, decide_volume
from local.cluster.settings import NODE_NAME, PROVISIONER_NAME, ClusterPaths
from local.cluster.status import span
from local.cluster.supervisor import holds

VOLUMES = "/state/volumes"


def claim(**changes: Any) -> dict[str, Any]:
    """A claim that waits for its volume, with the pod's node known."""
    annotations = {provisioner.PROVISIONER: PROVISIONER_NAME, provisioner.SELECTED_NODE: NODE_NAME}
    metadata: dict[str, Any] = {"name": "data-0", "namespace": "trading", "uid": "u-1", "annotations": annotations}
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "2Gi"}},
        "storageClassName": "standard",
        **changes.pop("spec", {}),
    }
    return {
        "metadata": {**metadata, **changes.pop("metadata", {})},
        "spec": spec,
        "status": {"phase": "Pending"},
        **changes,
    }


def test_a_claim_gets_a_local_volume_of_its_own() -> None:
    decision = decide_claim(claim(), "Delete", True, VOLUMES)
    assert isinstance(decision, Provision)
    assert decision.folder == f"{VOLUMES}/pvc-u-1"
    spec = decision.volume["spec"]
    assert spec["local"] == {"path": decision.folder}
    assert spec["claimRef"]["uid"] == "u-1"
    assert (spec["capacity"], spec["persistentVolumeReclaimPolicy"]) == ({"storage": "2Gi"}, "Delete")


@pytest.mark.parametrize(
    "other",
    [
        claim(spec={"volumeName": "pvc-u-1"}),
        claim(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        claim(metadata={"annotations": {provisioner.PROVISIONER: "someone.else/disk"}}),
        claim(status={"phase": "Bound"}),
    ],
    ids=["has a volume", "is going", "another's", "bound"],
)
def test_other_claims_are_left_alone(other: dict[str, Any]) -> None:
    assert decide_claim(other, "Delete", True, VOLUMES) is None


def test_a_delayed_claim_waits_for_its_pod() -> None:
    waiting = claim(metadata={"annotations": {provisioner.PROVISIONER: PROVISIONER_NAME}})
    assert decide_claim(waiting, "Delete", True, VOLUMES) is None
    assert decide_claim(waiting, "Delete", False, VOLUMES) is not None


def volume(**spec: Any) -> dict[str, Any]:
    """A released volume of ours."""
    return {
        "metadata": {"name": "pvc-u-1", "annotations": {provisioner.PROVISIONED_BY: PROVISIONER_NAME}},
        "spec": {"local": {"path": f"{VOLUMES}/pvc-u-1"}, "persistentVolumeReclaimPolicy": "Delete", **spec},
        "status": {"phase": "Released"},
    }


def test_a_released_volume_goes_with_its_folder() -> None:
    assert decide_volume(volume(), VOLUMES) == Reclaim(f"{VOLUMES}/pvc-u-1", "pvc-u-1")


def test_no_folder_that_is_not_ours_is_ever_removed() -> None:
    assert decide_volume(volume(persistentVolumeReclaimPolicy="Retain"), VOLUMES) is None
    assert decide_volume(volume(local={"path": "/etc"}), VOLUMES) is None
    assert decide_volume(volume(local={"path": f"{VOLUMES}/../../etc"}), VOLUMES) is None
    assert decide_volume({**volume(), "status": {"phase": "Bound"}}, VOLUMES) is None
    foreign = volume()
    foreign["metadata"]["annotations"] = {}
    assert decide_volume(foreign, VOLUMES) is None


def archive(file: Path, index: dict[str, Any]) -> Path:
    """An OCI archive with nothing but its index."""
    data = json.dumps(index).encode()
    with tarfile.open(file, "w") as tar:
        info = tarfile.TarInfo("index.json")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return file


def test_only_changed_images_are_imported(tmp_path: Path) -> None:
    index = {
        "manifests": [{"digest": "sha256:bb", "annotations": {"io.containerd.image.name": "localhost/x/redis:local"}}]
    }
    (found,) = containers.read_archive(archive(tmp_path / "redis.tar", index))
    assert containers.to_import([found], {}) == [found]
    assert containers.to_import([found], {"localhost/x/redis:local": "sha256:aa"}) == [found]
    assert containers.to_import([found], {"localhost/x/redis:local": "sha256:bb"}) == []


def test_an_archive_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names no image"):
        containers.read_archive(archive(tmp_path / "x.tar", {"manifests": [{"digest": "sha256:bb"}]}))
    (tmp_path / "y.tar").write_text("no archive")
    with pytest.raises(ValueError, match="not an OCI archive"):
        containers.read_archive(tmp_path / "y.tar")


def test_pods_of_a_changed_image_restart_but_jobs_run_on() -> None:
    def pod(name: str, owner: str, image: str) -> dict[str, Any]:
        metadata = {"namespace": "trading", "name": name, "ownerReferences": [{"kind": owner}]}
        return {"metadata": metadata, "spec": {"containers": [{"image": image}]}}

    pods = [pod("a", "ReplicaSet", "new"), pod("b", "Job", "new"), pod("c", "StatefulSet", "old")]
    assert containers.pods_to_restart(pods, frozenset({"new"})) == [("trading", "a")]


def test_two_clones_share_nothing() -> None:
    one, other = ClusterPaths(Path("/a/clone")), ClusterPaths(Path("/b/clone"))
    assert one.name != other.name
    assert not one.state.is_relative_to(other.root)


def test_units_do_without_what_could_not_be_built(tmp_path: Path) -> None:
    names = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
    binaries = {name: Path("/bin") / name for name in names}
    plain = {unit.name for unit in units.make_units(ClusterPaths(tmp_path), binaries, 5)}
    assert set(names) | {"containerd", "forwarder", "provisioner"} == plain
    more = units.make_units(ClusterPaths(tmp_path), {**binaries, "metrics-server": Path("/bin/metrics-server")}, 5)
    assert {unit.name for unit in more} - plain == {"metrics-server"}


def test_no_secret_stands_on_a_command_line(tmp_path: Path) -> None:
    binaries = {
        name: Path("/bin/x") for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    }
    binaries |= {name: Path("/bin/x") for name in ("kubelet", "kube-proxy", "metrics-server")}
    for unit in units.make_units(ClusterPaths(tmp_path), binaries, 5):
        assert not [word for word in unit.command if "password" in word or "token=" in word]


def test_a_start_condition_holds_or_is_refused(tmp_path: Path) -> None:
    assert holds(f"path:{tmp_path}")
    assert not holds(f"path:{tmp_path / 'none'}")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert holds(f"tcp:{port}")
    assert not holds(f"tcp:{port}")
    with pytest.raises(ValueError, match="unknown start condition"):
        holds("http://x")


def test_a_record_of_another_boot_or_process_is_dead(tmp_path: Path) -> None:
    me = processes.Record(
        pid=os.getpid(), start_time=processes.start_time(os.getpid()), boot_id=processes.boot_id(), port=1, since=0.0
    )
    assert me.alive
    file = tmp_path / "record.json"
    me.write(file)
    assert processes.read_record(file) == me
    stale = processes.Record(pid=me.pid, start_time=me.start_time, boot_id="another", port=1, since=0.0)
    reused = processes.Record(pid=me.pid, start_time=me.start_time - 1, boot_id=me.boot_id, port=1, since=0.0)
    assert not stale.alive
    assert not reused.alive
    file.write_text('{"pid": 1')
    assert processes.read_record(file) is None


def test_cgroups_of_a_name_are_removed_whole(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / "crossover-x" / "kubepods" / "pod1").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    namespaces.remove_cgroups("crossover-x", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["other"]


def test_the_listener_is_loopback_only_and_moves_on_where_its_port_is_taken() -> None:
    with make_listener(0) as first:
        address, port = first.getsockname()
        assert address == "127.0.0.1"
        with make_listener(port) as second:
            assert second.getsockname()[1] != port


def test_a_second_up_of_the_same_clone_waits(tmp_path: Path) -> None:
    paths = ClusterPaths(tmp_path)
    entered = threading.Event()

    def second() -> None:
        with locked(paths):
            entered.set()

    thread = threading.Thread(target=second)
    with locked(paths):
        thread.start()
        assert not entered.wait(0.2)
    assert entered.wait(5)
    thread.join()


def test_the_forwarder_carries_both_ways_and_ends() -> None:
    payload = b"x" * 1_000_000

    async def run() -> bytes:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        far = server.sockets[0].getsockname()[1]
        listener = make_listener(0)
        serving = asyncio.create_task(forwarder.serve(listener, forwarder.to_port(far)))
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
        writer.write(payload)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        listener.close()
        server.close()
        return answer

    assert asyncio.run(run()) == payload


def test_span() -> None:
    assert span(time.time() - 42) == "42s"
    assert span(time.time() - 720) == "12m"
    assert span(time.time() - 11100) == "3h05m"
