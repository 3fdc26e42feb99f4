"""The language host: serves pulumirpc.LanguageRuntime for `runtime: python`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2, json_format
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from local.pulumi_plugins.failures import ProviderError
from local.pulumi_plugins.language import plugin_run
from local.pulumi_plugins.language.environment import (
    Interpreter,
    find_interpreter,
    installed_distributions,
    required_plugins,
)
from local.pulumi_plugins.language.program import EXIT_TOLD
from local.pulumi_plugins.serving import engine_address, serve

PROGRAM = Path(__file__).with_name("program.py")
ANALYZER = "analyzer"
"""The kind of plugin that a policy pack is."""
STOP_SECONDS = 3.0
"""How long a program may take to end after SIGINT. The CLI gives its plugins 5 s in all."""


def _options(info: language_pb2.ProgramInfo) -> dict[str, Any]:
    return json_format.MessageToDict(info.options)


def _interpreter(info: language_pb2.ProgramInfo) -> Interpreter:
    return find_interpreter(info.root_directory, _options(info))


class Programs:
    """The programs that run now, so that they can be stopped together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()

    def run(self, command: list[str], directory: str, environment: dict[str, str]) -> int:
        """Runs one program to its end; its output goes where this process' output goes."""
        process = subprocess.Popen(command, cwd=directory, env=environment, stdin=subprocess.DEVNULL)
        with self.watched(process):
            return process.wait()

    @contextmanager
    def watched(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """While it runs, `process` is stopped with the others."""
        with self._lock:
            self._running.add(process)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """Interrupts every program, and kills those that do not end within STOP_SECONDS."""
        with self._lock:
            running = list(self._running)
        for process in running:
            process.send_signal(signal.SIGINT)
        for process in running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Runs Python programs. The engine keeps one host a command."""

    def __init__(self, version: str, engine: str | None) -> None:
        self._version = version
        self._engine = engine or ""
        self._programs = Programs()

    def Handshake(
        self, request: language_pb2.LanguageHandshakeRequest, context: grpc.ServicerContext
    ) -> language_pb2.LanguageHandshakeResponse:
        """Learns the engine's address."""
        self._engine = request.engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """The version of the CLI that this host was installed beside."""
        return plugin_pb2.PluginInfo(version=self._version)

    def GetRequiredPackages(
        self, request: language_pb2.GetRequiredPackagesRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPackagesResponse:
        """The plugins that the SDK packages in the program's environment name."""
        try:
            needs = required_plugins(_interpreter(request.info).site_packages())
        except ProviderError:
            needs = []  # Run fails with the same error, where the user looks for it
        return language_pb2.GetRequiredPackagesResponse(
            packages=[
                plugin_pb2.PackageDependency(name=need.name, version=need.version, kind="resource", server=need.server)
                for need in needs
            ]
        )

    def Run(self, request: language_pb2.RunRequest, context: grpc.ServicerContext) -> language_pb2.RunResponse:
        """Runs the program to its end. A program that told the user of its failure bails quietly."""
        try:
            interpreter = _interpreter(request.info)
        except ProviderError as error:
            return language_pb2.RunResponse(error=str(error))
        directory = request.info.program_directory or request.pwd
        job = {
            "project": request.project,
            "stack": request.stack,
            "organization": request.organization,
            "monitor": request.monitor_address,
            "engine": self._engine,
            "dry_run": request.dryRun,
            "parallel": request.parallel,
            "root_directory": request.info.root_directory,
            "directory": directory,
            "entry_point": request.info.entry_point,
            "arguments": list(request.args),
        }
        environment = interpreter.environment(os.environ) | {
            "PULUMI_CONFIG": json.dumps(dict(request.config)),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
            "PYTHONUNBUFFERED": "1",  # prints reach the engine when they happen
        }
        status = self._programs.run(
            [str(interpreter.executable), str(PROGRAM), json.dumps(job)], directory, environment
        )
        return _run_response(status)

    def RunPlugin(
        self, request: language_pb2.RunPluginRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.RunPluginResponse]:
        """Runs a plugin that is a Python program, a policy pack among them, and passes on what it writes: on stdout it
        says where it listens. It is ended once the engine has no more use for it."""
        try:
            interpreter = _interpreter(request.info)
        except ProviderError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        program = str(Path(request.info.program_directory, request.info.entry_point or "."))
        # The SDK's own way to run a policy pack takes the engine's address before the program.
        command = ["-m", "pulumi.policy", *request.args[:1], program] if request.kind == ANALYZER else [program]
        given = dict(pair.split("=", 1) for pair in request.env if "=" in pair)
        process = plugin_run.start(
            [str(interpreter.executable), "-u", *command, *request.args[request.kind == ANALYZER :]],
            request.pwd or request.info.program_directory,
            interpreter.environment({**os.environ, **given}),
        )
        with self._programs.watched(process):
            yield from plugin_run.streamed(process, context)

    def InstallDependencies(
        self, request: language_pb2.InstallDependenciesRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.InstallDependenciesResponse]:
        """Makes the virtual environment of Pulumi.yaml and installs requirements.txt into it."""
        virtualenv = _options(request.info).get("virtualenv")
        python = Path(sys.executable)
        if virtualenv:
            folder = Path(request.info.root_directory, str(virtualenv))
            python = folder / "bin" / "python"
            if not python.exists():
                yield from _streamed([sys.executable, "-m", "venv", str(folder)], request.directory, context)
        requirements = Path(request.directory, "requirements.txt")
        if requirements.exists():
            for command in _pip_commands(python, requirements):
                yield from _streamed(command, request.directory, context)

    def About(self, request: language_pb2.AboutRequest, context: grpc.ServicerContext) -> language_pb2.AboutResponse:
        """The interpreter of the program, for `pulumi about`."""
        try:
            executable = _interpreter(request.info).executable
        except ProviderError:
            executable = Path(sys.executable)
        asked = subprocess.run([executable, "--version"], capture_output=True, text=True, check=False)
        return language_pb2.AboutResponse(
            executable=str(executable), version=(asked.stdout or asked.stderr).removeprefix("Python").strip()
        )

    def GetProgramDependencies(
        self, request: language_pb2.GetProgramDependenciesRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetProgramDependenciesResponse:
        """Everything that is installed in the program's virtual environment."""
        try:
            distributions = installed_distributions(_interpreter(request.info).site_packages())
        except ProviderError:
            distributions = []
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[language_pb2.DependencyInfo(name=name, version=version) for name, version in distributions]
        )

    def RuntimeOptionsPrompts(
        self, request: language_pb2.RuntimeOptionsRequest, context: grpc.ServicerContext
    ) -> language_pb2.RuntimeOptionsResponse:
        """No questions: Pulumi.yaml says it all."""
        return language_pb2.RuntimeOptionsResponse()

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Interrupts the running programs."""
        self.stop()
        return empty_pb2.Empty()

    def stop(self) -> None:
        """Interrupts the running programs."""
        self._programs.stop()


def _run_response(status: int) -> language_pb2.RunResponse:
    if status == 0:
        return language_pb2.RunResponse()
    if status == EXIT_TOLD:
        return language_pb2.RunResponse(error="the program failed", bail=True)
    if status < 0:
        return language_pb2.RunResponse(error=f"Program was ended by signal {signal.Signals(-status).name}")
    return language_pb2.RunResponse(error=f"Program exited with non-zero exit code: {status}")


def _pip_commands(python: Path, requirements: Path) -> list[list[str]]:
    """The commands that install `requirements` for `python`: a virtual environment may lack pip."""
    lacks_pip = subprocess.run([python, "-c", "import pip"], capture_output=True, check=False).returncode != 0
    uv = shutil.which("uv")
    if lacks_pip and uv:
        return [[uv, "pip", "install", "--python", str(python), "-r", str(requirements)]]
    make_pip = [[str(python), "-m", "ensurepip"]] if lacks_pip else []
    return [*make_pip, [str(python), "-m", "pip", "install", "-r", str(requirements)]]


def _streamed(
    command: list[str], directory: str, context: grpc.ServicerContext
) -> Iterator[language_pb2.InstallDependenciesResponse]:
    process = subprocess.Popen(
        command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    for line in process.stdout:
        yield language_pb2.InstallDependenciesResponse(stdout=line)
    if process.wait() != 0:
        context.abort(grpc.StatusCode.UNKNOWN, f"{' '.join(command)} exited with status {process.returncode}")


def main(arguments: list[str]) -> int:
    """Serves the language host until the CLI ends it."""
    version = os.environ.get("CROSSOVER_LANGUAGE_HOST_VERSION", "")
    host = LanguageHost(version, engine_address(arguments))
    return serve(lambda server: language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server), host.stop)
