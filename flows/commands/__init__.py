"""What each verb of `genworks` does: one module per verb, loaded only when its verb is used."""
