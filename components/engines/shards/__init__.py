"""WebDataset shards: writing, manifests, indexed reading, global order, and the resumable parallel map."""
