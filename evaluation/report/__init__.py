"""`page` writes report.html, `summary` the tables in the terminal; `compare_studies` compares two."""
