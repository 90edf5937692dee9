"""The sample world: moving scenes whose truth is known, as people find clips."""
