"""Ways of splitting one fit over processes: data, sharded data, tensor, pipeline, and hybrids with data."""
