"""`crossover bars`: a file into a catalog, what a catalog holds, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import bars as command
from cli.__main__ import app
from cli.errors import CliError

GOOD = "Date,Open,High,Low,Close,Volume\n2020-01-02 09:30,1,2,1,2,5\n2020-01-02 09:31,2,2,1,1,5\n"


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["bars", *arguments])
    if done.exception is not None:
        raise done.exception
    return done.output


def test_a_file_is_kept_listed_and_refused_with_rows(tmp_path: Path) -> None:
    file, folder = tmp_path / "x.csv", str(tmp_path / "catalog")
    file.write_text(GOOD)
    with pytest.raises(CliError, match="no timezone is named"):
        run("import", str(file), "--symbol", "X", "--into", folder)
    with pytest.raises(CliError, match="is no folder"):
        run("list", "--from", folder)
    words = ("--symbol", "X", "--into", folder, "--timezone", "America/New_York")
    assert "kept in" in run("import", str(file), *words)
    assert "replaced in" in run("import", str(file), *words)
    assert "the bars of X are deleted" in run("delete", "X", "--from", folder)
    for missing in (folder, str(tmp_path / "none")):
        with pytest.raises(CliError, match="holds no bars of X: nothing was deleted"):
            run("delete", "X", "--from", missing)
    run("import", str(file), *words)
    file.write_text(GOOD.replace("1,2,1,2", "1,2,3,2"))
    with pytest.raises(CliError, match=r"line 2: high is .*, below another price"):
        run("import", str(file), *words)
    assert "60 s" in run("list", "--from", folder)
    with pytest.raises(CliError, match="the symbol is 'X Y'"):
        run("import", str(file), "--symbol", "X Y", "--into", folder)
    with pytest.raises(CliError, match="cannot be read: No such file"):
        run("import", str(tmp_path / "none"), *words)


def test_the_services_bars_are_deleted_by_a_pod_that_may_ask_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[list[str], dict[str, str]]] = []
    answers = iter([(0, '{"deleted": "X"}'), (78, 'ERROR refused\n{"error": "3 runs use the bars of X"}')])

    class Sweeps:
        def __init__(self, api: object, namespace: str) -> None:
            assert namespace == "mine"

        def ask(self, arguments: list[str], env: dict[str, str]) -> tuple[int, str]:
            asked.append((arguments, env))
            return next(answers)

    monkeypatch.setattr(command, "connect", lambda context: None)
    monkeypatch.setattr(command, "KubernetesSweeps", Sweeps)
    assert "the bars of X are deleted" in run("delete", "X", "--namespace", "mine")
    with pytest.raises(CliError, match="the backtesting service refused: 3 runs use the bars of X"):
        run("delete", "X", "--namespace", "mine")
    assert asked == [(["delete-bars", "--symbol", "X"], {})] * 2
