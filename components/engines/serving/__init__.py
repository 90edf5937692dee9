"""What inference pipelines share: one answer schema, bad inputs one by one, options that are checked."""
