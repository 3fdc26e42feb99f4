"""`python -m services.market_feed`."""

from __future__ import annotations

import sys

from contracts.names import MARKET_FEED_NAME
from services.common.runner import main
from services.market_feed.service import build
from services.market_feed.settings import FeedSettings

if __name__ == "__main__":
    sys.exit(main(MARKET_FEED_NAME, FeedSettings, build))
