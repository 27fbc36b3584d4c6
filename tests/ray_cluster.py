"""A Ray cluster of two nodes in a process of its own: ``python -m tests.ray_cluster``.

It says its address in one line; each line that it then reads is done and answered: ``kill`` ends
the second node as a power cut does. At the end of its input it ends.
"""

from __future__ import annotations

import sys

from ray.cluster_utils import Cluster

MEMORY_BYTES = 100_000_000
"""Of a node's shared objects; Ray takes no less than 75 MB."""


def main() -> None:
    """Start the cluster and do as told."""
    node = {"num_cpus": 1, "object_store_memory": MEMORY_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    second = cluster.add_node(num_cpus=1, object_store_memory=MEMORY_BYTES)
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "kill":
            cluster.remove_node(second, allow_graceful=False)
        print("done", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
