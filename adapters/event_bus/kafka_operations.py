"""What a user may do itself on Kafka: asked in a process of its own, which the question may end.

librdkafka 2.16 aborts its process where DescribeCluster or DescribeTopics is answered without any live broker
(`rdkafka_admin.c`, assertion `rko_result`). A lone broker answers so for a moment after it stood still for longer than
its session. A cutover that died of it could not undo its fence; so a child asks, and its death is an answer.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict

from adapters.event_bus.errors import AccessDenied, BackendUnavailable, EventBusError, PermanentError
from adapters.event_bus.kafka_admin import CLUSTER, KafkaAdmin
from adapters.event_bus.kafka_client import ANSWER_SECONDS, KafkaAddress, TopicCollection

Operations = dict[str, frozenset[str]]
"""The names of AclOperations, by topic, and for the whole cluster by CLUSTER."""
_CHILD = (sys.executable, "-m", "adapters.event_bus.kafka_operations")
_KINDS = {kind.__name__: kind for kind in (AccessDenied, PermanentError, BackendUnavailable)}
"""What the child may have met, the narrower first."""
_WHOLE_SECONDS = 4 * ANSWER_SECONDS
"""Two questions, and the start of a Python."""


def own_operations(address: KafkaAddress, topics: Sequence[str]) -> Operations:
    """What the user of `address` may do with the whole cluster, and with each of `topics`.

    Raises BackendUnavailable, AccessDenied.
    """
    question = json.dumps({"address": asdict(address), "topics": list(topics)})
    # The password goes through the pipe: others on the machine can read arguments and environment.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)}
    try:
        done = subprocess.run(
            _CHILD, input=question, capture_output=True, text=True, env=environment, timeout=_WHOLE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BackendUnavailable(f"Kafka at {address.bootstrap} gave no answer in {_WHOLE_SECONDS:g} s") from error
    if done.returncode < 0:
        raise BackendUnavailable(
            f"Kafka at {address.bootstrap} names no live broker: it has just come back, or is about to go "
            f"(the client that asked was ended by signal {-done.returncode})"
        )
    if done.returncode:
        raise EventBusError(f"what this user may do on Kafka could not be asked: {done.stderr.strip()[-300:]}")
    return _read(json.loads(done.stdout))


def _read(answer: dict[str, dict[str, list[str]] | str]) -> Operations:
    """The child's answer; what it could not do is raised as it would have been there."""
    found = answer.get("operations")
    if isinstance(found, dict):
        return {name: frozenset(operations) for name, operations in found.items()}
    raise _KINDS.get(str(answer.get("error")), EventBusError)(str(answer.get("text")))


class _Asking(KafkaAdmin):
    """Asks here and now, and may abort the process."""

    def operations(self, topics: Sequence[str]) -> dict[str, list[str]]:
        whole = self._admin.describe_cluster(include_authorized_operations=True, request_timeout=ANSWER_SECONDS)
        found = {CLUSTER: self._one(whole)}
        if topics:
            asked = TopicCollection(list(topics))
            found |= self._all(
                self._admin.describe_topics(asked, include_authorized_operations=True, request_timeout=ANSWER_SECONDS)
            )
        return {
            name: [operation.name for operation in answer.authorized_operations or ()] for name, answer in found.items()
        }


def main() -> None:
    """Answer the question on standard input."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the password
    question = json.load(sys.stdin)
    client = _Asking(KafkaAddress(**question["address"]), "crossover-operations")
    try:
        answer: dict[str, object] = {"operations": client.operations(question["topics"])}
    except EventBusError as error:
        answer = {"error": next((n for n, kind in _KINDS.items() if isinstance(error, kind)), ""), "text": str(error)}
    finally:
        client.close()
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
