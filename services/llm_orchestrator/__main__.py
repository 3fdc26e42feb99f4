"""`python -m services.llm_orchestrator`."""

from __future__ import annotations

import sys

from contracts.names import LLM_ORCHESTRATOR_NAME
from services.common.runner import main
from services.llm_orchestrator.service import build
from services.llm_orchestrator.settings import OrchestratorSettings

if __name__ == "__main__":
    # A call that was let in is answered to its end: a rolled pod stays as long as one may take.
    sys.exit(main(LLM_ORCHESTRATOR_NAME, OrchestratorSettings, build, lambda settings: settings.whole_seconds))
