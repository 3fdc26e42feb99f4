"""`python -m services.backtesting_service`."""

from __future__ import annotations

import sys

from contracts.names import BACKTESTING_NAME
from services.backtesting_service.service import build
from services.backtesting_service.settings import BacktestingSettings
from services.common.runner import main

if __name__ == "__main__":
    sys.exit(main(BACKTESTING_NAME, BacktestingSettings, build))
