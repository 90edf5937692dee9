"""Sample worlds that several systems share: generated data whose truth is known."""
