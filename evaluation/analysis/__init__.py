"""What the files of a study say together: results, finalists, importance, judged rungs."""
