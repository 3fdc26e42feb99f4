"""What the installed wrapper scripts run: `python -I entry.py (kubernetes|random|language) ARGS`.

Run by path, isolated from PYTHON* variables, so that a plugin behaves the same from any
folder. Each plugin is imported only when asked for: the CLI starts them on every command.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from local.pulumi_plugins.lean import import_protocol_only


def main(arguments: list[str]) -> int:
    """Serves the plugin that `arguments` names; returns the exit status."""
    import_protocol_only()
    name = arguments[0] if arguments else ""
    if name == "kubernetes":
        from local.pulumi_plugins.kube import provider as kubernetes

        return kubernetes.main(arguments[1:])
    if name == "random":
        from local.pulumi_plugins import random_provider

        return random_provider.main(arguments[1:])
    if name == "language":
        from local.pulumi_plugins.language import host

        return host.main(arguments[1:])
    print(f"unknown plugin {name!r}: expected kubernetes, random or language", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
