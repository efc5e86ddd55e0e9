"""One study: its plan, its record, the data it searches on, and the ranking of its trials."""
