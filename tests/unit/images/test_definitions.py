"""The definitions of this repository: complete, locked, and told alike by their Dockerfiles."""

from __future__ import annotations

import pytest

from local.images import debian, dockerfile, maven, wheels
from local.images.definition import REPOSITORY, lineage, load, names, parse
from local.images.errors import DefinitionError, ImageError

IMAGES = ("backtesting", "coredns", "kafka", "llm", "pause", "pgbouncer", "postgres", "redis", "workload")


def test_all_images_are_there() -> None:
    assert tuple(names()) == IMAGES


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_runs_as_nobody_special(name: str) -> None:
    assert load(name).config.user == "65532:65532"


@pytest.mark.parametrize("name", names(internal=True))
def test_everything_that_is_named_is_locked(name: str) -> None:
    definition, lock = load(name), debian.read_lock()
    if definition.debian is not None:
        assert {one.name for one in debian.locked(definition.debian.packages, lock)} == set(definition.debian.packages)
    if definition.wheels is not None:
        assert all(one.file.endswith(".whl") for one in wheels.read_lock(wheels.lock_file(definition)))
    if definition.jars is not None:
        assert maven.read_lock(maven.lock_file(definition))
    assert all((definition.directory / file.source).is_file() for file in definition.files)


def test_nothing_is_locked_that_nobody_names() -> None:
    wanted = {name for one in map(load, names(internal=True)) if one.debian for name in one.debian.packages}
    assert set(debian.read_lock()) == wanted


def test_the_workload_has_the_versions_that_the_tests_run_with() -> None:
    tested = (REPOSITORY / "requirements.txt").read_text()
    for name in ("workload", "backtesting"):
        for wheel in wheels.read_lock(wheels.lock_file(load(name))):
            assert f"\n{wheel.name}=={wheel.version}" in tested, f"{wheel.name}: run `python -m local.images lock`"


@pytest.mark.parametrize("name", IMAGES)
def test_the_dockerfile_is_current(name: str) -> None:
    definition = load(name)
    assert dockerfile.path_of(definition).read_text() == dockerfile.render(definition), (
        f"local/images/{name}/image.toml has changed: run `python -m local.images dockerfile`"
    )


def test_python_finds_the_authorities_by_which_a_hosted_api_is_known() -> None:
    """Nothing sets SSL_CERT_FILE in a pod: what OpenSSL looks for by itself has to be there."""
    links = {path: target for one in lineage(load("workload")) for path, target in one.links.items()}
    assert links["/usr/lib/ssl/cert.pem"] == f"/{debian.CA_BUNDLE}"
    assert any(one.debian is not None and one.debian.ca_bundle for one in lineage(load("workload")))


def test_services_have_the_event_loop_that_they_ask_for() -> None:
    assert "uvloop" in {wheel.name for wheel in wheels.read_lock(wheels.lock_file(load("workload")))}


def test_a_child_has_the_layers_of_its_parents_first() -> None:
    assert [one.name for one in lineage(load("backtesting"))] == ["base", "python", "workload", "backtesting"]


def test_an_unknown_key_is_named_with_its_file() -> None:
    with pytest.raises(DefinitionError, match=r"probe/image\.toml: .*known keys") as caught:
        parse("probe", 'summary = "x"\n[debian]\npakages = ["a"]\n', "probe/image.toml")
    assert "debian.pakages" in str(caught.value)


def test_a_package_without_lock_says_what_to_run() -> None:
    with pytest.raises(ImageError, match=r"python -m local\.images lock debian"):
        debian.locked(["no-such-package"], debian.read_lock())
