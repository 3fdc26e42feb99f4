"""What the orchestrator costs on the way to a language model, in front of an upstream that costs next to nothing.

`make bench NAME=llm_service` takes the figures of the orchestrator; `python -m benchmarks llm_service litellm` takes
those of its path beside LiteLLM's proxy, which it installs for the time of the run (some 600 MB).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import llm_path, llm_streams
from benchmarks.frame import Figure
from benchmarks.llm_servers import NoPeer, allow_many_files, litellm, orchestrated, upstream

PATH, STREAMS, LITELLM = "path", "streams", "litellm"
PARTS = (PATH, STREAMS, LITELLM)


def run(parts: Sequence[str] = ()) -> list[Figure]:
    """The figures of `parts`; of `path` and `streams` where none is named."""
    wanted = set(parts or (PATH, STREAMS))
    allow_many_files()
    with tempfile.TemporaryDirectory(prefix="crossover-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        direct = stack.enter_context(upstream(folder))
        ours = stack.enter_context(orchestrated(direct, folder))
        ways = {llm_path.DIRECT: direct, llm_path.OURS: ours}
        if LITELLM in wanted:
            try:
                ways[llm_path.PEER] = stack.enter_context(litellm(direct, folder))
            except NoPeer as error:
                print(f"LiteLLM is left out, and nothing is said about it: {error}")
        made = llm_path.figures(ways) if wanted & {PATH, LITELLM} else []
        return made + (llm_streams.figures(ours) if STREAMS in wanted else [])
