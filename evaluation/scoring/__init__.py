"""What a policy's decisions and forecasts were worth: costs, coverage, pinball loss, tables, charts and the page of the docs."""
