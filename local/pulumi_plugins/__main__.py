"""`python -m local.pulumi_plugins install`: puts the Pulumi plugins in place."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from local.pulumi_plugins.install import InstallError, default_python, install

REPOSITORY = Path(__file__).resolve().parents[2]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.pulumi_plugins", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser(
        "install", help="install the official plugins, or the stand-ins where those cannot be had"
    )
    state = REPOSITORY / ".crossover"
    add.add_argument("--pulumi", type=Path, default=None, help="the pulumi CLI (default: the one on PATH)")
    add.add_argument("--home", type=Path, default=Path(os.environ.get("PULUMI_HOME", state / "pulumi")))
    add.add_argument(
        "--bin", type=Path, default=state / "bin", help="the folder that gets pulumi and its language host"
    )
    add.add_argument("--python", type=Path, default=default_python(), help="an interpreter with the Pulumi SDK")
    choice = add.add_mutually_exclusive_group()
    choice.add_argument(
        "--official", action="store_const", const=True, default=None, help="insist on the official ones"
    )
    choice.add_argument("--stand-in", dest="official", action="store_const", const=False, help="take the stand-ins")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    found = options.pulumi or shutil.which("pulumi")
    if found is None:
        print("error: no pulumi on PATH: give the CLI with --pulumi PATH", file=sys.stderr)
        return 1
    try:
        installed = install(
            Path(found).absolute(),
            options.home.absolute(),
            options.bin.absolute(),
            options.python.absolute(),
            official=options.official,
        )
    except InstallError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, origin in installed.origins.items():
        print(f"{name}: {origin}")
    print(f"PULUMI_HOME={installed.home}")
    print(f"pulumi: {installed.pulumi}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
