"""Which plugins are installed: what is there already, the official ones where they can be had, else the stand-ins."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest

from local.pulumi_plugins import install as installing
from local.pulumi_plugins.install import InstallError, Plugin, default_python, install, is_stand_in, wanted_plugins
from tests.plugins.cli import Toolchain

pytestmark = pytest.mark.plugins


class Downloads(ThreadingHTTPServer):
    """Pulumi's download host: answers 404 to all, and counts."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _NotFound)
        self.asked: list[str] = []


class _NotFound(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        assert isinstance(self.server, Downloads)
        self.server.asked.append(self.path)
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests look at `asked`."""


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Downloads]:
    """A download host without plugins."""
    with Downloads() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(installing, "DOWNLOADS", f"http://127.0.0.1:{server.server_address[1]}")
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def pulumi(cli: Toolchain, tmp_path: Path) -> Path:
    """The CLI alone in a folder, as it comes from its Go module."""
    alone = tmp_path / "built" / "pulumi"
    alone.parent.mkdir()
    alone.hardlink_to(cli.binaries / "pulumi")
    return alone


def binary(home: Path, plugin: Plugin) -> Path:
    return home / "plugins" / plugin.folder / plugin.binary


def test_versions_are_those_of_the_installed_sdks() -> None:
    assert {plugin.name: plugin.version for plugin in wanted_plugins()} == {
        name: metadata.version(f"pulumi-{name}") for name in ("kubernetes", "random")
    }


def test_stand_ins_where_the_official_ones_cannot_be_had(pulumi: Path, tmp_path: Path, downloads: Downloads) -> None:
    home, binaries = tmp_path / "home", tmp_path / "bin"
    made = install(pulumi, home, binaries, default_python())
    assert made.origins == {"python": "stand-in", "kubernetes": "stand-in", "random": "stand-in"}
    assert is_stand_in(binaries / "pulumi-language-python")
    assert made.pulumi.resolve().parent == binaries  # the CLI looks for language hosts beside itself
    # One question is enough to know: the host is not asked for the second plugin, nor by the next run.
    assert len(downloads.asked) == 1

    files = [binary(home, plugin) for plugin in wanted_plugins()]
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in files]
    began = time.monotonic()
    assert install(pulumi, home, binaries, default_python()) == made
    assert time.monotonic() - began < 10  # 0.3 s on an idle machine
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in files] == before
    assert len(downloads.asked) == 1


def test_what_is_official_already_stays(pulumi: Path, tmp_path: Path, downloads: Downloads) -> None:
    home = tmp_path / "home"
    official = [binary(home, plugin) for plugin in wanted_plugins()]
    official.append(pulumi.with_name("pulumi-language-python"))
    for path in official:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("an official binary")
    made = install(pulumi, home, tmp_path / "bin", default_python())
    assert set(made.origins.values()) == {"official"}
    assert [path.read_text() for path in official] == ["an official binary"] * 3
    assert not (tmp_path / "bin" / "pulumi-language-python").exists()
    assert downloads.asked == []


def test_insisting_on_official_ones_says_what_is_missing(pulumi: Path, tmp_path: Path, downloads: Downloads) -> None:
    with pytest.raises(InstallError, match="no official pulumi-language-python beside"):
        install(pulumi, tmp_path / "home", tmp_path / "bin", default_python(), official=True)
    pulumi.with_name("pulumi-language-python").write_text("an official binary")
    with pytest.raises(InstallError, match=r"the official kubernetes v[\d.]+ cannot be installed: .*404"):
        install(pulumi, tmp_path / "home", tmp_path / "bin", default_python(), official=True)
    assert not (tmp_path / "home" / "plugins").exists()
