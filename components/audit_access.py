"""Who may append to the audit log: the Transitions, in its namespace alone, and they delete nothing. Pure."""

from __future__ import annotations

from components.bus_access import CUTOVER
from components.manifests import role, role_binding, rule
from components.pods import Manifest, env, field_env
from components.settings import Settings
from contracts import names

WRITERS = (CUTOVER, names.DATABASE_CUTOVER_NAME, names.LLM_CUTOVER_NAME, names.BACKTESTING_CUTOVER_NAME)
"""ServiceAccounts of the backend's namespace."""
_JOB = "metadata.labels['batch.kubernetes.io/job-name']"


def rights(settings: Settings) -> list[Manifest]:
    """Role and binding, named by the backend's namespace: another stack on the cluster may write the same log. No name
    of a ConfigMap is given: the next one is made by who fills the last."""
    backend, audit = settings.namespaces.backend, settings.namespaces.audit
    name = f"{backend}-transitions"
    return [
        role(name, audit, [rule("", "configmaps", ["get", "create", "update"])]),
        role_binding(name, audit, name, WRITERS, of=backend),
    ]


def identity_env(settings: Settings) -> list[Manifest]:
    """Of a Transition's pod: where the log is, and whose entries it writes."""
    return [field_env(names.ENV_JOB_NAME, _JOB), *env(**{names.ENV_AUDIT_NAMESPACE: settings.namespaces.audit})]
