"""Great Expectations suites as code, and their report. The only importer of great_expectations."""
