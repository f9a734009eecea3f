"""Ray clusters that are joined: two nodes of which one is removed under way, and a head node through Ray's client."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cluster_jobs as jobs
import pytest

from sanmaru import cluster

pytestmark = pytest.mark.slow


def test_items_of_a_removed_node_are_run_again_on_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = nodes.add_node(num_cpus=1)
    try:
        monkeypatch.setenv("RAY_ADDRESS", nodes.address)
        head = nodes.head_node.node_id

        def remove_second_once_it_works() -> None:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                if any(path.name.endswith(second.node_id) for path in tmp_path.iterdir()):
                    nodes.remove_node(second, allow_graceful=False)
                    return
                time.sleep(0.05)

        remover = threading.Thread(target=remove_second_once_it_works)
        remover.start()
        items = [(str(tmp_path), number, head) for number in range(4)]
        nodes_used = cluster.map(jobs.slow_away_from, items, kind="ray://auto", threads=1)
        remover.join()
        assert not ray.is_initialized(), "a cluster that was joined is left again"
    finally:
        nodes.shutdown()
    begun_there = {path.name.split("-")[0] for path in tmp_path.iterdir() if path.name.endswith(second.node_id)}
    assert begun_there, "the second node should have begun an item before it was removed"
    assert nodes_used == [head] * 4


def test_a_cluster_elsewhere_is_joined_through_rays_client(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    pytest.importorskip("grpc")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    port = free_port()
    place = tempfile.mkdtemp(prefix="ray")  # not tmp_path: the names of sockets must be short
    head = subprocess.Popen(
        [
            *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--include-dashboard=false"),
            *("--num-cpus=2", "--disable-usage-stats", f"--port={free_port()}", f"--ray-client-server-port={port}"),
            f"--temp-dir={place}",
        ],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), "GRPC_ENABLE_FORK_SUPPORT": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until_open(port)
        kind = f"ray://127.0.0.1:{port}"
        assert cluster.map(jobs.square, range(4), kind=kind) == [0, 1, 4, 9]
        with pytest.raises(cluster.ClusterError, match=r"item 1 \(2\) failed: ValueError"):
            cluster.map(jobs.fail_at_two, [1, 2], kind=kind)
    finally:
        head.terminate()
        head.wait(30)
        shutil.rmtree(place, ignore_errors=True)


def free_port() -> int:
    """A port above those that Ray gives to its workers."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port > 20_000:
            return port


def wait_until_open(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(f"nothing listens on {port}")
