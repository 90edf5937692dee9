"""What must not be made: prompts told by their words (English only), however these are spelt."""
