"""TLS between our pods and both Postgres servers: what each connection asks for, and the authorities it goes by. Pure.

A server of our own has a certificate that it made itself, unless the user gives one: the first encrypts and proves
nothing, for nobody vouches for it; so `require`. With an authority to go by, from the user, it is `verify-full`.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from components.hosted_postgres import secret_files
from components.manifests import secret
from components.pods import Manifest
from components.settings import HostedDatabase, Settings
from contracts.stages import Component, Side, backend_of

HOSTED, OURS = (backend_of(Component.DATABASE, side) for side in (Side.OLD, Side.NEW))
AUTHORITIES = "database-authorities"
"""The Secret with what config says in `database.hosted.ca`. Nothing in it is secret; pods mount only Secrets."""
FOLDER = "/etc/crossover/authorities"
CA = "ca.crt"
SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""Of every image. Not `sslrootcert=system`: the client libraries in wheels look for that elsewhere."""
Mounts = Mapping[str, tuple[str, bool]]


def of_hosted(hosted: HostedDatabase | None) -> str:
    """The parameters of a URL of the hosted side. The stand-in has no certificate: it is in the same cluster.

    Without an authority the default stays `require`: hosted servers have certificates of their platform's own authority
    (Supabase's is one), which no bundle knows, so verify-full would let nobody in. It is encrypted then, and whoever
    can put himself between could still play the server: hence the `ca` in config, and verify-full with it.
    """
    if hosted is None:
        return urlencode({"sslmode": "disable"})
    mode = hosted.sslmode or ("verify-full" if hosted.ca else "require")
    if mode != "verify-full":
        return urlencode({"sslmode": mode})
    return _verified(f"{FOLDER}/{HOSTED}/{CA}" if hosted.ca else SYSTEM_BUNDLE)


def of_ours(settings: Settings) -> str:
    """The parameters of a URL of our own server."""
    if not settings.database.selfhosted.tls_secret:
        return urlencode({"sslmode": "require"})
    return _verified(f"{FOLDER}/{OURS}/{CA}")


def _verified(path: str) -> str:
    return urlencode({"sslmode": "verify-full", "sslrootcert": path}, safe="/")


def authorities(settings: Settings) -> list[Manifest]:
    """The Secret, where config names an authority."""
    hosted = settings.database.hosted
    if hosted is None or not hosted.ca:
        return []
    return [secret(AUTHORITIES, settings.namespaces.backend, {CA: hosted.ca})]


def content(settings: Settings) -> dict[str, str]:
    """What pods that go by an authority must be made anew for where it changes."""
    hosted = settings.database.hosted
    return {"authority": hosted.ca} if hosted is not None and hosted.ca else {}


def volumes(settings: Settings) -> dict[str, Manifest]:
    """By name, those of a pod that connects to both servers; none where nobody is verified."""
    hosted = settings.database.hosted
    found = own_volumes(settings)
    if hosted is not None and hosted.ca:
        found["hosted-authority"] = secret_files(AUTHORITIES, CA)
    return found


def own_volumes(settings: Settings) -> dict[str, Manifest]:
    """The same of a pod that connects to our own server only."""
    given = settings.database.selfhosted.tls_secret
    return {"own-authority": secret_files(given, CA)} if given else {}


def mounts(settings: Settings) -> dict[str, tuple[str, bool]]:
    """Where a container finds them: the paths in the URLs."""
    places = {"hosted-authority": f"{FOLDER}/{HOSTED}", "own-authority": f"{FOLDER}/{OURS}"}
    return {places[name]: (name, True) for name in volumes(settings)}


def own_mounts(settings: Settings) -> dict[str, tuple[str, bool]]:
    """The same of a pod that connects to our own server only."""
    return {f"{FOLDER}/{OURS}": (name, True) for name in own_volumes(settings)}
