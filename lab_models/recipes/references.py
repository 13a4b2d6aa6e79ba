"""What to cite for the recipes whose source is published. The labs' READMEs are not, so theirs have none."""

from typing import Final

_HE: Final = """@misc{he2015deep,
  title = {Deep Residual Learning for Image Recognition},
  author = {He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian},
  year = {2015},
  eprint = {1512.03385},
  archiveprefix = {arXiv}
}
"""
_HINTON: Final = """@misc{hinton2015distilling,
  title = {Distilling the Knowledge in a Neural Network},
  author = {Hinton, Geoffrey and Vinyals, Oriol and Dean, Jeff},
  year = {2015},
  eprint = {1503.02531},
  archiveprefix = {arXiv}
}
"""

RECIPE_BIBTEX: Final = {"he-depth": _HE, "he-depth-short": _HE, "hinton-mnist": _HINTON}
"""By the recipe's name, one entry."""
