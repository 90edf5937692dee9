"""What only watches a run: seconds, FLOPs, memory, traces, logs, forecasts. Nothing here changes what is learnt."""
