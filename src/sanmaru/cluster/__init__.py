"""Run a function over items: here, in worker processes, or on Ray."""

from sanmaru.cluster.base import ClusterError, Plan, cores, map, plan  # noqa: A004 - always written as cluster.map

__all__ = ["ClusterError", "Plan", "cores", "map", "plan"]
