"""What a study and its evaluation say: results, comparison, finalists, statements, importance, rungs."""
