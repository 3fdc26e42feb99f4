"""Where packages come from: the mirrors that this machine's own tools are set up with, else the public registries.

A lock names files by checksum, so a mirror is trusted with nothing but being reachable.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from functools import cache
from http.client import HTTPResponse
from pathlib import Path
from typing import cast

TIMEOUT_S = 60.0
PUBLIC_PYPI = "https://pypi.org/simple"
PUBLIC_MAVEN = "https://repo1.maven.org/maven2"
PUBLIC_DEBIAN = {
    "debian": "http://deb.debian.org/debian",
    "debian-security": "http://deb.debian.org/debian-security",
}
DEBIAN_VARIABLES = {"debian": "CROSSOVER_DEBIAN_MIRROR", "debian-security": "CROSSOVER_DEBIAN_SECURITY_MIRROR"}


def open_url(url: str, headers: dict[str, str] | None = None) -> HTTPResponse:
    """GET `url`, with the user and password that may stand in it sent as such. Raises OSError."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise OSError(f"{url} is neither http nor https")
    wanted = dict(headers or {})
    if parts.username is not None:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        wanted["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        url = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    request = urllib.request.Request(url, headers=wanted)  # noqa: S310 - the scheme was checked above
    return cast(HTTPResponse, urllib.request.urlopen(request, timeout=TIMEOUT_S))  # noqa: S310 - as above


@cache
def debian(archive: str) -> str:
    """The address of `debian` or `debian-security`: the variable, this machine's apt sources, or the public one."""
    named = os.environ.get(DEBIAN_VARIABLES[archive])
    return (named or _from_apt(archive, apt_sources()) or PUBLIC_DEBIAN[archive]).rstrip("/")


def apt_sources(folder: Path = Path("/etc/apt")) -> str:
    """The text of all apt sources of this machine."""
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    return "\n".join(file.read_text(errors="replace") for file in files if file.is_file())


def _from_apt(archive: str, sources: str) -> str | None:
    """The first address in apt's sources that is named like the archive."""
    active = "\n".join(line for line in sources.splitlines() if not line.lstrip().startswith("#"))
    found = re.search(rf"\bhttps?://\S+/{re.escape(archive)}/?(?=\s|$)", active)
    return found[0] if found else None


@cache
def pypi() -> str:
    """The package index that pip is set up with."""
    named = os.environ.get("PIP_INDEX_URL") or os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL")
    return (named or _from_pip() or PUBLIC_PYPI).rstrip("/")


def _from_pip() -> str | None:
    """`index-url` of pip's configuration files, where there is a pip to say."""
    for command in ([sys.executable, "-m", "pip"], ["pip"], ["pip3"]):
        try:
            result = subprocess.run([*command, "config", "list"], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            continue
        if result.returncode == 0:
            found = re.search(r"^(?:global|install|download)\.index-url='([^']+)'", result.stdout, re.MULTILINE)
            return found[1] if found else None
    return None


@cache
def maven() -> str:
    """The repository for jars: the variable, a mirror of Maven's settings, or Maven Central."""
    named = os.environ.get("CROSSOVER_MAVEN_MIRROR") or _from_maven(Path.home() / ".m2" / "settings.xml")
    return (named or PUBLIC_MAVEN).rstrip("/")


def _from_maven(settings: Path) -> str | None:
    """The mirror of `central` (or of everything) in Maven's settings."""
    if not settings.is_file():
        return None
    for mirror in ET.parse(settings).getroot().iterfind(".//{*}mirror"):  # noqa: S314 - the user's own file
        url = mirror.findtext("{*}url")
        if url and {"central", "*"} & set((mirror.findtext("{*}mirrorOf") or "").split(",")):
            return url
    return None


@cache
def index_page(project: str) -> dict[str, str]:
    """sha256 -> address, of every file of a project on the package index (the Simple API, PEP 691 and 503)."""
    address = f"{pypi()}/{project}/"
    with open_url(address, {"Accept": "application/vnd.pypi.simple.v1+json, text/html;q=0.5"}) as response:
        kind, body = response.headers.get_content_type(), response.read().decode()
    if kind.endswith("+json"):
        files = json.loads(body)["files"]
        return {file["hashes"]["sha256"]: urllib.parse.urljoin(address, file["url"]) for file in files}
    links = re.findall(r'href="([^"#]+)#sha256=([0-9a-f]{64})"', body)
    return {digest: urllib.parse.urljoin(address, link.replace("&amp;", "&")) for link, digest in links}
