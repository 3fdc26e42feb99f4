"""Stack config of namespaces: what they are called, and that they are apart."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.config_errors import unfit
from contracts import names

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""A DNS label, as Kubernetes wants names."""


class NamespaceSettings(BaseModel):
    """Namespaces that the program makes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: Name = names.NAMESPACE
    hosted: Name = names.HOSTED_NAMESPACE
    audit: Name = names.AUDIT_NAMESPACE
    """Of the audit log. It stays when the stack is destroyed. Two stacks on one cluster write one log, unless each
    names its own."""

    @model_validator(mode="after")
    def _are_apart(self) -> Self:
        if self.backend == self.hosted:
            raise unfit(
                f"backend and hosted are both {self.backend!r}: their network rules would mix",
                key="hosted",
                fix=names.HOSTED_NAMESPACE,
            )
        if self.audit in (self.backend, self.hosted):
            raise unfit(
                f"audit is {self.audit!r}, where other things live: who appends to the audit log could change those",
                key="audit",
                fix=names.AUDIT_NAMESPACE,
            )
        return self
