"""What to cite for the built-in data sets, and under which terms their images are given, as far as that is known."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class DatasetReference:
    """`bibtex` is one entry; `license` are the terms in words with who says so, None where none are known here."""

    bibtex: str
    license: str | None = None


_CIFAR: Final = """@techreport{krizhevsky2009learning,
  title = {Learning Multiple Layers of Features from Tiny Images},
  author = {Krizhevsky, Alex},
  institution = {University of Toronto},
  year = {2009},
  url = {https://www.cs.toronto.edu/~kriz/cifar.html}
}
"""
_EMNIST: Final = """@misc{cohen2017emnist,
  title = {{EMNIST}: an extension of {MNIST} to handwritten letters},
  author = {Cohen, Gregory and Afshar, Saeed and Tapson, Jonathan and van Schaik, Andr{\\'e}},
  year = {2017},
  eprint = {1702.05373},
  archiveprefix = {arXiv}
}
"""

REFERENCES: Final = {
    "digits": DatasetReference(
        """@misc{alpaydin1998optical,
  title = {Optical Recognition of Handwritten Digits},
  author = {Alpaydin, E. and Kaynak, C.},
  year = {1998},
  howpublished = {UCI Machine Learning Repository},
  doi = {10.24432/C50P49}
}
""",
        "CC BY 4.0, as the UCI Machine Learning Repository says",
    ),
    "mnist": DatasetReference(
        """@article{lecun1998gradient,
  title = {Gradient-based learning applied to document recognition},
  author = {LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and Haffner, Patrick},
  journal = {Proceedings of the IEEE},
  volume = {86},
  number = {11},
  pages = {2278--2324},
  year = {1998}
}
""",
        "CC BY-SA 3.0, as the documentation of Keras says; its authors' page says none",
    ),
    "cifar10": DatasetReference(_CIFAR),
    "cifar100": DatasetReference(_CIFAR),
    "fashion_mnist": DatasetReference(
        """@misc{xiao2017fashion,
  title = {{Fashion-MNIST}: a Novel Image Dataset for Benchmarking Machine Learning Algorithms},
  author = {Xiao, Han and Rasul, Kashif and Vollgraf, Roland},
  year = {2017},
  eprint = {1708.07747},
  archiveprefix = {arXiv}
}
""",
        "MIT licence, as its repository says",
    ),
    "kmnist": DatasetReference(
        """@misc{clanuwat2018deep,
  title = {Deep Learning for Classical Japanese Literature},
  author = {Clanuwat, Tarin and Bober-Irizar, Mikel and Kitamoto, Asanobu and Lamb, Alex and Yamamoto, Kazuaki and
    Ha, David},
  year = {2018},
  eprint = {1812.01718},
  archiveprefix = {arXiv}
}
""",
        "CC BY-SA 4.0, as its repository says",
    ),
    "emnist_balanced": DatasetReference(_EMNIST),
    "emnist_letters": DatasetReference(_EMNIST),
    "emnist_digits": DatasetReference(_EMNIST),
    "svhn": DatasetReference(
        """@inproceedings{netzer2011reading,
  title = {Reading Digits in Natural Images with Unsupervised Feature Learning},
  author = {Netzer, Yuval and Wang, Tao and Coates, Adam and Bissacco, Alessandro and Wu, Bo and Ng, Andrew Y.},
  booktitle = {NIPS Workshop on Deep Learning and Unsupervised Feature Learning},
  year = {2011}
}
""",
        "for non-commercial use only, as its page says",
    ),
    "stl10": DatasetReference(
        """@inproceedings{coates2011analysis,
  title = {An Analysis of Single-Layer Networks in Unsupervised Feature Learning},
  author = {Coates, Adam and Ng, Andrew and Lee, Honglak},
  booktitle = {Proceedings of the Fourteenth International Conference on Artificial Intelligence and Statistics},
  pages = {215--223},
  year = {2011}
}
""",
    ),
}
"""Of the built-in data sets by name; of somebody's own images nothing is known."""
