"""The Python language host, driven by the real CLI."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.plugins.cli import Project

pytestmark = pytest.mark.plugins


def test_runs_the_program_with_its_virtual_environment_and_shows_what_it_prints(project: Project) -> None:
    project.set("greeting", "good morning")
    project.write("""
        import sys
        import pulumi

        print(pulumi.Config().require("greeting"), "from", sys.executable, "in", pulumi.get_stack())
        print("and this on stderr", file=sys.stderr)
        pulumi.export("dry", pulumi.runtime.is_dry_run())
    """)
    result = project.up()
    executable = project.folder / ".venv" / "bin" / "python"
    assert f"good morning from {executable} in test" in result.output
    assert "and this on stderr" in result.output
    assert project.outputs() == {"dry": False}


def test_an_exception_fails_the_update_with_the_traceback_of_the_users_code(project: Project) -> None:
    project.write("""
        def settle(amount):
            raise ValueError(f"no such amount: {amount}")

        settle(12)
    """)
    result = project.up(status=1)
    assert "ValueError: no such amount: 12" in result.output
    assert f'File "{project.folder / "__main__.py"}", line 5, in <module>' in result.output
    assert "runpy" not in result.output
    assert "run_in_stack" not in result.output
    assert result.counts()["errored"] == 1


def test_a_syntax_error_is_shown_where_it_stands(project: Project) -> None:
    project.write("stage = = 'mvp'")
    result = project.up(status=1)
    assert "SyntaxError: invalid syntax" in result.output
    assert f'File "{project.folder / "__main__.py"}", line 1' in result.output
    assert "frozen" not in result.output


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("import pulumi; raise pulumi.RunError('the stage is unknown')", "error: the stage is unknown"),
        ("import sys; sys.exit(3)", "Program exited with non-zero exit code: 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "Program was ended by signal SIGKILL"),
    ],
)
def test_other_ways_to_fail(project: Project, statement: str, told: str) -> None:
    project.write(statement)
    result = project.up(status=1)
    assert told in result.output
    assert "Traceback" not in result.output


def test_a_missing_virtual_environment_is_named_with_the_fix(project: Project) -> None:
    (project.folder / ".venv").unlink()
    project.write("")
    result = project.run("preview", status=1)
    assert "runtime.options.virtualenv to '.venv'" in result.output
    assert "pulumi install" in result.output


def test_resource_hooks_run_in_the_program_and_their_failure_fails_the_update(project: Project) -> None:
    project.write("""
        import pulumi
        import pulumi_random as random

        def before(args):
            print("before", args.name, args.new_inputs["min"])

        def after(args):
            print("after", args.name, args.new_outputs["max"])
            raise RuntimeError("verdict: does not hold")

        binding = pulumi.ResourceHookBinding(
            before_create=[pulumi.ResourceHook("before", before)], after_create=[pulumi.ResourceHook("after", after)]
        )
        random.RandomInteger("n", min=1, max=6, opts=pulumi.ResourceOptions(hooks=binding))
    """)
    result = project.up(status=1)
    assert "before n 1" in result.output
    assert "after n 6" in result.output
    assert "verdict: does not hold" in result.output


def test_ctrl_c_ends_the_program_and_every_plugin_quietly(project: Project) -> None:
    project.write("""
        import os, time

        print(f"waiting as {os.getpid()}", flush=True)
        time.sleep(600)
    """)
    running = project.begin_up()
    running.wait_for(lambda: "waiting as" in running.output())
    number = running.output().partition("waiting as ")[2].split()[0]
    running.interrupt()
    result = running.end(20)
    assert result.status != 0
    assert "update canceled" in result.output
    assert "Traceback" not in result.output
    assert not Path("/proc", number).exists()
    assert project.run("stack", "export").output.count("pending_operations") <= 1


def test_preview_as_json_is_one_document(project: Project) -> None:
    project.write("""
        import pulumi_random as random

        random.RandomInteger("n", min=1, max=6)
    """)
    plan = json.loads(project.preview("--json").output)
    assert plan["changeSummary"] == {"create": 2}
    assert project.resources("RandomInteger") == []


def test_about_names_the_interpreter_and_what_is_installed(project: Project) -> None:
    project.write("")
    about = json.loads(project.run("about", "--json").output)
    assert about["runtime"]["executable"] == str(project.folder / ".venv" / "bin" / "python")
    assert about["runtime"]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert {"pulumi", "pulumi_kubernetes", "pulumi_random"} <= {item["name"] for item in about["dependencies"]}
    assert {item["name"] for item in about["plugins"]} >= {"python", "kubernetes", "random"}


def test_install_makes_the_virtual_environment(project: Project) -> None:
    (project.folder / ".venv").unlink()
    (project.folder / "Pulumi.yaml").write_text(
        "name: plugins\nruntime:\n  name: python\n  options:\n    virtualenv: made\n"
    )
    (project.folder / "requirements.txt").write_text("")
    project.write("")
    project.run("install")
    assert (project.folder / "made" / "bin" / "python").exists()
