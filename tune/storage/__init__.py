"""A study on disk or under a URI: run directory, tables, trial status, locks and leases."""
