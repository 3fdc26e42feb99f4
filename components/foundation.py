"""What everything else stands on: namespaces that admit only restricted pods, and no network by default."""

from __future__ import annotations

import pulumi

from components import audit_access, networking
from components.kube import content_hash, create, keeper, password
from components.pods import PART_OF, Manifest
from components.settings import Settings


def namespace(name: str) -> Manifest:
    """A namespace under Pod Security `restricted`."""
    enforced = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return {
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": PART_OF, **enforced}},
    }


def _stated(settings: Settings) -> dict[str, object]:
    """For the policy pack, which sees a resource's inputs and no config."""
    if settings.environment == "development":
        return {}
    return {"environment": settings.environment, "kept": [settings.namespaces.audit]}


class Foundation(pulumi.ComponentResource):
    """Namespaces, default-deny network policies, the salt of configuration hashes, and the stack's name for itself.

    `ready` is what every other component depends on. With `protect_data`, the namespaces cannot be
    destroyed: every volume would go with them. That of the audit log is never destroyed: it is left in the cluster, and
    a stack that is made anew takes it up. What lies in it is made by those who write it, not here.
    """

    ready: list[pulumi.Resource]
    keeper: pulumi.ProviderResource
    """For what outlives the stack, or a stage: where it is there already it is taken up."""
    salt: pulumi.Output[str]
    owner: pulumi.Output[str]
    """Tells this stack's state from any other, also from one of the same name on another laptop."""

    def __init__(self, name: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("crossover:foundation:Foundation", name, _stated(settings), opts)
        self.ready = []
        self.keeper = keeper(settings.kube_context, self)
        for title in (settings.namespaces.backend, settings.namespaces.hosted):
            made = create(namespace(title), pulumi.ResourceOptions(parent=self, protect=settings.protect_data))
            more = settings.traces.edges(title) if title == settings.namespaces.backend else []
            self._add(title, made, networking.deny_all(title), networking.allow_dns(title), *more)
        self._audit(settings)
        self.salt = password("configuration-salt", self)
        self.owner = content_hash({"stack": pulumi.get_stack()}, self.salt)
        self.register_outputs({"namespaces": [settings.namespaces.backend, settings.namespaces.hosted]})

    def _audit(self, settings: Settings) -> None:
        """The namespace of the audit log. Rights in it go with the stack."""
        title = settings.namespaces.audit
        kept = pulumi.ResourceOptions(parent=self, provider=self.keeper, retain_on_delete=True)
        made = create(namespace(title), kept)
        closed = pulumi.ResourceOptions.merge(kept, pulumi.ResourceOptions(depends_on=[made]))
        self.ready.append(create(networking.deny_all(title), closed, f"{title}-default-deny"))
        self._add(title, made, *audit_access.rights(settings))

    def _add(self, title: str, made: pulumi.Resource, *inside: Manifest) -> None:
        """Namespace `title`, which was `made`, and what is in it."""
        self.ready.append(made)
        for manifest in inside:
            opts = pulumi.ResourceOptions(parent=self, depends_on=[made])
            self.ready.append(create(manifest, opts, f"{title}-{manifest['metadata']['name']}"))
