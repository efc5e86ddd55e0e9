"""What a study and its evaluation say: results, comparison, finalists, statements, importance, rungs."""

from evaluation.analysis.comparison import Comparison, ComparisonRow
from evaluation.analysis.finalists import finalist_rows
from evaluation.analysis.importance import importances
from evaluation.analysis.judged_rungs import judged_rungs
from evaluation.analysis.results import Results

__all__ = ["Comparison", "ComparisonRow", "Results", "finalist_rows", "importances", "judged_rungs"]
