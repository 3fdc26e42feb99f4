"""CustomResourceDefinitions: the API server serves the new kind."""

from __future__ import annotations

from local.pulumi_plugins.kube.objects import condition, is_true, name_of
from local.pulumi_plugins.kube.waits.base import Verdict, View, Wait, failed, ready, waiting


def judge(view: View) -> Verdict:
    """Established, or refused for its names."""
    definition = view.subject or {}
    name = name_of(definition)
    names = condition(definition, "NamesAccepted") or {}
    if is_true(definition, "Established"):
        return ready(f"CustomResourceDefinition {name} is established")
    if names.get("status") == "False":
        return failed(f"CustomResourceDefinition {name}: [{names.get('reason')}] {names.get('message', '')}")
    return waiting(f"CustomResourceDefinition {name} is not established yet")


DEFINITION = Wait(judge, seconds=60.0)
