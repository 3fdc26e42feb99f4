"""The orchestrator as a process of its own, with the route in a file: `python -m tests.contract.orchestrator_process
FOLDER`. Settings come from the environment."""

from __future__ import annotations

import sys
from pathlib import Path

from contracts.names import LLM_ORCHESTRATOR_NAME
from services.common.runner import serve
from services.llm_orchestrator.service import assemble, connector, make_room
from services.llm_orchestrator.settings import OrchestratorSettings
from tests.contract.file_routes import FileRegistry, FileRouteStore

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    settings = OrchestratorSettings.from_env(LLM_ORCHESTRATOR_NAME)
    make_room(settings.max_in_flight)
    app = assemble(settings, FileRouteStore(folder), FileRegistry(folder), connector(settings))
    sys.exit(serve(app, settings.http_port))
