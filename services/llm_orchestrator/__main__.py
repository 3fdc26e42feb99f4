"""`python -m services.llm_orchestrator`."""

from __future__ import annotations

import sys

from contracts.names import LLM_ORCHESTRATOR_NAME
from services.common.runner import main
from services.llm_orchestrator.service import build
from services.llm_orchestrator.settings import OrchestratorSettings

if __name__ == "__main__":
    sys.exit(main(LLM_ORCHESTRATOR_NAME, OrchestratorSettings, build))
