"""The report page and the tables in the terminal; comparing two studies."""
