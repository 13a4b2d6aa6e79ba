"""What numbers over several seeds show: intervals, paired tests, equivalence, power and verdicts in words. NumPy and
SciPy alone.

Read `summary.py` and `paired.py` first, then `verdicts.py`; `claims.py` judges statements about several settings at
once.
"""
