"""What set-up decides, and what it writes."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from local.setup import browser, foreign, golang, packages, pulumi_cli, stack, toolchain, versions
from local.setup.errors import SetupError


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26)),
        ("go version go1.19 linux/amd64", (1, 19)),
        ("go version devel go1.27-abc linux/amd64", (1, 27)),
        ("", (0, 0)),
    ],
)
def test_version_of_go(text: str, version: tuple[int, int]) -> None:
    assert golang.parse_version(text) == version


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("v3.256.0", True),
        ("3.250.0", True),
        ("v3.249.9", False),
        ("v4.0.0", False),
        ("v3.260.0-dev.1", True),
        ("", False),
    ],
)
def test_which_pulumi_fits(text: str, good: bool) -> None:
    assert pulumi_cli.fits(pulumi_cli.parse_version(text)) is good


def test_checksum_is_that_of_the_very_file() -> None:
    listing = "aa11  pulumi-v3.256.0-linux-x64.tar.gz.sig\nBB22 *pulumi-v3.256.0-linux-x64.tar.gz\n"
    assert pulumi_cli.expected_checksum(listing, "pulumi-v3.256.0-linux-x64.tar.gz") == "bb22"
    with pytest.raises(SetupError, match="cannot be trusted"):
        pulumi_cli.expected_checksum(listing, "pulumi-v3.256.0-darwin-x64.tar.gz")


def test_env_is_sourced_by_sh_and_is_idempotent(tmp_path: Path) -> None:
    root = tmp_path / "a clone with 'quotes'"
    paths = stack.PulumiPaths(root)
    values = stack.variables(paths, root / ".crossover" / "kubeconfig", "kind-x")
    stack.write_env(paths, values)
    shown = '"$PATH" "$KUBECONFIG" "$CROSSOVER_KUBE_CONTEXT" "${PULUMI_CONFIG_PASSPHRASE-unset}"'
    script = f'. "$1"; once=$PATH; . "$1"; [ "$PATH" = "$once" ] && printf "%s\\n" {shown}'
    done = subprocess.run(
        ["sh", "-euc", script, "sh", str(paths.env)],
        env={"PATH": "/usr/bin:/bin", "PULUMI_CONFIG_PASSPHRASE": "stale"},
        capture_output=True,
        text=True,
        check=True,
    )
    path, kubeconfig, context, passphrase = done.stdout.splitlines()
    assert path == f"{paths.bin}:{root}/.venv/bin:/usr/bin:/bin"
    assert (kubeconfig, context, passphrase) == (f"{root}/.crossover/kubeconfig", "kind-x", "unset")


def test_passphrase_is_private_and_kept(tmp_path: Path) -> None:
    paths = stack.PulumiPaths(tmp_path)
    stack.write_env(paths, {})
    first = paths.passphrase.read_text()
    stack.write_env(paths, {})
    assert paths.passphrase.read_text() == first
    assert len(first.strip()) >= 40
    assert stat.S_IMODE(paths.passphrase.stat().st_mode) == 0o600


def test_salt_of_another_clone_goes_and_its_secrets_stop(tmp_path: Path) -> None:
    config = tmp_path / "Pulumi.local.yaml"
    config.write_text("config:\n  a: b\nencryptionsalt: v1:abc=:v1:def==\n")
    stack.write_env(stack.PulumiPaths(tmp_path), {})
    assert config.read_text() == "config:\n  a: b\n"
    other = tmp_path / "other"
    other.mkdir()
    (other / "Pulumi.local.yaml").write_text("config:\n  a:\n    secure: v1:x\nencryptionsalt: v1:abc\n")
    with pytest.raises(SetupError, match=r"\.crossover/passphrase"):
        stack.write_env(stack.PulumiPaths(other), {})


def test_link_moves_on(tmp_path: Path) -> None:
    name = tmp_path / "bin" / "kubectl"
    stack.link(tmp_path / "old", name)
    stack.link(tmp_path / "new", name)
    assert name.readlink() == tmp_path / "new"


def test_images_get_into_kind_and_k3d_only() -> None:
    file = Path("/x/redis.tar")
    assert foreign.load_command("kind-dev", file) == ["kind", "load", "image-archive", "/x/redis.tar", "--name", "dev"]
    assert foreign.load_command("k3d-dev", file) == ["k3d", "image", "import", "/x/redis.tar", "--cluster", "dev"]
    assert foreign.load_command("gke_project_zone_name", file) is None


def test_missing_programs_are_named_with_package_and_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    need = packages.Need("no-such-program", "its-package", "does nothing")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError) as caught:
        packages.ensure([need])
    assert all(word in str(caught.value) for word in ("no-such-program", "its-package", "does nothing"))


def test_services_stay_down_while_packages_come(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with packages.services_stay_down(policy):
        assert subprocess.run([policy], check=False).returncode == 101
    assert not policy.exists()
    policy.write_text("#!/bin/sh\nexit 0\n")
    with packages.services_stay_down(policy):
        assert policy.read_text().endswith("exit 0\n")
    assert policy.exists()


def test_cni_folder_has_all_that_pods_need(tmp_path: Path) -> None:
    half, whole = tmp_path / "half", tmp_path / "whole"
    for folder, names in ((half, ["ptp"]), (whole, ["ptp", "host-local"])):
        folder.mkdir()
        for name in names:
            (folder / name).touch()
    assert packages.cni_folder([tmp_path / "none", half, whole]) == whole
    assert packages.cni_folder([half]) is None


def test_build_key_covers_module_flags_and_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "MODULES", tmp_path)
    module = tmp_path / "one"
    module.mkdir()
    (module / "go.mod").write_text("module one\n")
    group = versions.Group(name="one", version="v1.0.0", programs={"one": "example.org/one"}, variables={})
    first = toolchain.key(group)
    (module / "go.sum").write_text("changed\n")
    assert toolchain.key(group) != first
    other = versions.Group(name="one", version="v1.0.0", programs={"one": "example.org/one"}, variables={"a.b": "c"})
    assert toolchain.key(other) != toolchain.key(group)


@pytest.mark.parametrize("group", [*versions.CLUSTER_GROUPS, versions.PULUMI], ids=lambda group: group.name)
def test_modules_are_committed_with_their_checksums(group: versions.Group) -> None:
    text = (group.module / "go.mod").read_text()
    assert (group.module / "go.sum").stat().st_size > 1000
    assert group.version in text, f"{group.module}/go.mod does not hold {group.version}"
    assert all(program in text for program in group.programs.values())


def test_a_browser_of_another_name_does_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "SYSTEM_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(browser.PROGRAM, raising=False)
    assert browser.find() is None and not packages.BROWSER.present
    other = tmp_path / "google-chrome"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert browser.find() == str(other) and packages.BROWSER.present
    monkeypatch.setenv(browser.PROGRAM, "/own/chromium")
    assert browser.find() == "/own/chromium"


def test_where_no_browser_is_packaged_playwright_fetches_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "SYSTEM_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, "", "no way there")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(SetupError, match=r"no way there\. Install one, or name it with CROSSOVER_BROWSER="):
        browser.ensure()
    assert [command[1:] for command in asked] == [["-m", "playwright", "install", "--only-shell", "chromium"]]
