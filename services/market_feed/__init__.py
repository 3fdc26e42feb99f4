"""The market feed: publishes real bars on `market_data` at a chosen rate."""
