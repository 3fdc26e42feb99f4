"""Runs one Pulumi program: `python program.py JSON`, started by the language host.

The interpreter is the program's own, so this file uses the standard library and the
Pulumi SDK found there, and nothing else of this repository. Configuration comes through
the environment (PULUMI_CONFIG, PULUMI_CONFIG_SECRET_KEYS), never through arguments.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import runpy
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

EXIT_TOLD = 32
"""The program failed and the user has been told why: the CLI adds no message of its own."""
MONITOR_GONE = "Resource monitor has terminated"
"""How the SDK's RunError starts when the engine is shutting down: no news to the user."""


def user_traceback(error: BaseException) -> str:
    """The traceback of `error` without the frames that run the program: it starts in the user's code."""
    runners = (__file__, str(Path("pulumi", "runtime", "stack.py")))
    formatted = traceback.TracebackException.from_exception(error)
    kept = [frame for frame in formatted.stack if not frame.filename.endswith(runners)]
    loaders = (str(Path(asyncio.__file__).parent), "<frozen ")  # the loop, runpy and the import of __main__ itself
    while kept and kept[0].filename.startswith(loaders):
        kept.pop(0)
    formatted.stack = traceback.StackSummary.from_list(kept)
    return "".join(formatted.format()).rstrip()


def _end(status: int) -> NoReturn:
    """Ends at once: the SDK's unfinished tasks and gRPC threads are of no use any more."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _locate(directory: str, entry_point: str) -> Path:
    path = Path(directory, entry_point or ".").resolve()
    if path.is_dir() and not (path / "__main__.py").is_file():
        raise FileNotFoundError(f"{path} holds no __main__.py: that is the file a Pulumi program starts with")
    return path


def _load_sdk() -> Any:
    try:
        import pulumi
        import pulumi.runtime
    except ModuleNotFoundError as error:
        print(
            f"{sys.executable} lacks the module {error.name!r} that a Pulumi program needs: "
            "install the program's requirements there (pulumi install)",
            file=sys.stderr,
        )
        _end(1)
    return pulumi


def _configure(pulumi: Any, job: dict[str, Any]) -> None:
    pulumi.runtime.set_all_config(pulumi.runtime.get_config_env(), pulumi.runtime.get_config_secret_keys_env())
    pulumi.runtime.configure(
        pulumi.runtime.Settings(
            project=job["project"],
            stack=job["stack"],
            monitor=job["monitor"],
            engine=job["engine"],
            dry_run=job["dry_run"],
            parallel=job["parallel"],
            organization=job["organization"],
            root_directory=job["root_directory"],
        )
    )


def main(job: dict[str, Any]) -> NoReturn:
    """Runs the program that `job` describes and ends the process with its status."""
    # The CLI stops its plugins with SIGINT, and the program with them: that is no error.
    signal.signal(signal.SIGINT, lambda *_: _end(EXIT_TOLD))
    pulumi = _load_sdk()
    _configure(pulumi, job)
    os.chdir(job["directory"])
    # Futures that nobody awaits are the SDK's ordinary way to end early: asyncio need not warn of them.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        path = _locate(job["directory"], job["entry_point"])
        sys.path[0] = str(path if path.is_dir() else path.parent)
        sys.argv = [str(path), *job["arguments"]]
        loop.run_until_complete(pulumi.runtime.run_in_stack(lambda: runpy.run_path(str(path), run_name="__main__")))
    except pulumi.RunError as error:
        if not str(error).startswith(MONITOR_GONE):
            pulumi.log.error(str(error))
        _end(EXIT_TOLD)
    except SystemExit as error:
        _end(error.code if isinstance(error.code, int) else 0 if error.code is None else 1)
    except Exception as error:
        sys.stdout.flush()
        pulumi.log.error(f"Program failed with an unhandled exception:\n{user_traceback(error)}")
        _end(EXIT_TOLD)
    _end(0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
