"""What everything else stands on: namespaces that admit only restricted pods, and no network by default."""

from __future__ import annotations

import pulumi

from components import networking
from components.kube import content_hash, create, password
from components.pods import PART_OF, Manifest
from components.settings import Settings


def namespace(name: str) -> Manifest:
    """A namespace under Pod Security `restricted`."""
    enforced = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return {
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": PART_OF, **enforced}},
    }


class Foundation(pulumi.ComponentResource):
    """Namespaces, default-deny network policies, the salt of configuration hashes, and the stack's name for itself.

    `ready` is what every other component depends on. With `protect_data`, the namespaces cannot be
    destroyed: every volume would go with them.
    """

    ready: list[pulumi.Resource]
    salt: pulumi.Output[str]
    owner: pulumi.Output[str]
    """Tells this stack's state from any other, also from one of the same name on another laptop."""

    def __init__(self, name: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("crossover:foundation:Foundation", name, {}, opts)
        self.ready = []
        for title in (settings.namespaces.backend, settings.namespaces.hosted):
            made = create(namespace(title), pulumi.ResourceOptions(parent=self, protect=settings.protect_data))
            self.ready.append(made)
            for manifest in (networking.deny_all(title), networking.allow_dns(title)):
                opts_inside = pulumi.ResourceOptions(parent=self, depends_on=[made])
                self.ready.append(create(manifest, opts_inside, f"{title}-{manifest['metadata']['name']}"))
        self.salt = password("configuration-salt", self)
        self.owner = content_hash({"stack": pulumi.get_stack()}, self.salt)
        self.register_outputs({"namespaces": [settings.namespaces.backend, settings.namespaces.hosted]})
