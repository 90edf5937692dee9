"""Runs, models from code, the registry, its ledger and lineage. The only engine that imports mlflow."""
