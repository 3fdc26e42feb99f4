"""A real single-node Kubernetes in namespaces of its own, reached over loopback.

`python -m local.cluster up | down | status | kubectl | forward`. Every process of it lives
in one PID, mount and network namespace, so that ending one process ends all, and no mount,
interface or firewall rule is ever seen by the host.
"""
