"""The sample world: a document printer that knows what its pages say."""
