"""Three nodes of Ray on this machine, each with one core, as a cluster of three machines would be."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from alignkit.errors import MissingExtraError
from alignkit.workers.ray import ray_module

HERE = Path(__file__).parent
# workers on a node are processes of it, and import what the tests import
IMPORTED = (HERE.parent, HERE, HERE / "workers")


@contextmanager
def running(nodes=3):
    """Yield the cluster; nobody is told about it."""
    try:
        ray_module()  # before anybody else imports it, as in a command
    except MissingExtraError as error:
        pytest.skip(str(error))
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patched.setenv("RAY_memory_monitor_refresh_ms", "0")  # it kills workers where other processes fill the memory
        patched.setenv("RAY_worker_niceness", "0")  # else a busy machine gives its workers what the other tests leave
        patched.setenv("PYTHONPATH", os.pathsep.join([*map(str, IMPORTED), os.environ.get("PYTHONPATH", "")]))
        small = {"num_cpus": 1, "object_store_memory": 80 * 1024 * 1024, "include_dashboard": False}
        # no part needs them: nodes that are started on demand, and what workers say, which no driver here asks for
        less = {"no_monitor": True, "include_log_monitor": False}
        cluster = Cluster(initialize_head=True, head_node_args=small | less)
        for _ in range(nodes - 1):
            cluster.add_node(**small)
        try:
            yield cluster
        finally:
            cluster.shutdown()


def kill_a_node(cluster):
    """One that is not the head, without notice."""
    node = next(node for node in cluster.list_all_nodes() if node is not cluster.head_node)
    cluster.remove_node(node, allow_graceful=False)
