"""`python -m services.trading_engine`."""

from __future__ import annotations

import sys

from contracts.names import TRADING_ENGINE_NAME
from services.common.runner import main
from services.trading_engine.service import build
from services.trading_engine.settings import TradingSettings

if __name__ == "__main__":
    sys.exit(main(TRADING_ENGINE_NAME, TradingSettings, build))
