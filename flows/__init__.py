"""Prefect flows and the `genworks` command. Flows run commands; they import no room."""
