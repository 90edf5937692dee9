"""Params, stage command line, seeds, paths, errors, code fingerprints. Imports no other engine."""
