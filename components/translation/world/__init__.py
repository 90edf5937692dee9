"""The sample language pair."""
