"""Functions brought to a Ray cluster as a deployment of Ray Serve, with replicas.

Needs the extra ``ray``. One deployment answers for all models of a suite: then one request can be
answered, and proved, by one replica.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dicom_node.brains.exported import Contents, digest
from dicom_node.brains.wire import PATH
from dicom_node.errors import BrainUnavailable, EngineMissing

APPLICATION = "dicom-node"
_NAMESPACE = "serve"
_LOOK = "Check --address, and `ray status` on the head: free cores for every replica are needed."
_CONNECT_SECONDS = 10.0
_WAITING_A_CORE = 4
"""Requests that a replica has at hand for each of its cores: those computed, and the next."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where and how wide functions are deployed.

    ``address``: as `ray.init` takes it. ``host``, ``port``: where Serve listens on the head, unless
    it runs already. ``replicas``, and ``cores`` of each.
    """

    address: str
    replicas: int = 1
    cores: int = 1
    host: str = "127.0.0.1"
    port: int = 8000


def is_installed() -> bool:
    """Whether Ray is here; it is not loaded."""
    return find_spec("ray") is not None


def deploy(folder: Path, contents: Contents, cluster: Cluster) -> str:
    """Deploy the functions of a folder and wait until they answer; return their digest.

    What was deployed before is replaced, replica by replica. Raises `EngineMissing` without Ray,
    and `BrainUnavailable` where no cluster is, or the replicas do not start.
    """
    if not is_installed():
        raise EngineMissing(
            "Ray is not installed.", remedy="Install it: pip install 'dicom-node[ray]'."
        )
    _reach(cluster.address)
    import ray
    from ray import serve
    from ray.exceptions import RayError

    functions = digest(folder, contents)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    try:
        ray.init(address=cluster.address, namespace=_NAMESPACE, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as fault:
        why = " ".join(str(fault).split())
        raise BrainUnavailable(
            f"There is no Ray cluster at {cluster.address}: {why}.", remedy=_LOOK
        ) from fault
    try:
        options: Any = {"host": cluster.host, "port": cluster.port}
        # One door, on the head: without the head there is no cluster, and every other machine may
        # die without a request losing its way.
        serve.start(proxy_location="HeadOnly", http_options=options)
        serve.run(_deployment(cluster).bind(files, functions, cluster.cores),
                  name=APPLICATION, route_prefix=PATH)  # fmt: skip
    except (RuntimeError, RayError) as fault:
        why = " ".join(str(fault).split())
        raise BrainUnavailable(f"The replicas do not start: {why}.", remedy=_LOOK) from fault
    finally:
        ray.shutdown()
    return functions


def _reach(address: str) -> None:
    """Raise `BrainUnavailable` where nobody listens: Ray itself would wait for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdecimal():
        return  # "auto", "local": Ray says what is wrong with them
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as fault:
        why = " ".join(str(fault).split())
        raise BrainUnavailable(f"Nobody listens at {address}: {why}.", remedy=_LOOK) from fault


def _deployment(cluster: Cluster) -> Any:
    from ray import serve

    from dicom_node.brains.replica import Replica

    made: Any = serve.deployment(
        num_replicas=cluster.replicas,
        max_ongoing_requests=_WAITING_A_CORE * cluster.cores,
        ray_actor_options={"num_cpus": cluster.cores},
        health_check_period_s=2.0,
        health_check_timeout_s=30.0,
        graceful_shutdown_timeout_s=30.0,
    )
    return made(Replica)
