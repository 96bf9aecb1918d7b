"""Commands about models: the registry, promotion, shadow scoring, backtests."""
