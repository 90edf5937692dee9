"""What inference pipelines share: decoding strategies for text, streaming, the repetition guard."""
