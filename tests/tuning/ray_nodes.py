"""A real Ray cluster on this machine, in a process of its own: a head without cores, and one node of one core per home.

    python -m tests.tuning.ray_nodes HOME...

prints the address, then obeys lines on its standard input: "kill N" kills node N as a power cut would. When its input
ends it takes everything down.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


def main(homes: list[str]) -> None:
    """Run the cluster until the input ends."""
    from ray.cluster_utils import Cluster

    logging.getLogger("ray").setLevel(logging.ERROR)
    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=1, env_vars={"INKSIGHT_HOME": home}, wait=False) for home in homes]
        cluster.wait_for_nodes()
        print(cluster.address, flush=True)
        for line in sys.stdin:
            cluster.remove_node(nodes[int(line.split()[1])], allow_graceful=False)
            print(line.strip(), flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
