"""What happens while models answer: an append-only log of events, and sessions of users."""
