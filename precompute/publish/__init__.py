"""The static edition: an event as files that any web server serves, with no program behind them."""
