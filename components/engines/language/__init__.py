"""Tasks on tokens: causal language models, sequence to sequence, filling in spans; their texts, from raw to clean."""
