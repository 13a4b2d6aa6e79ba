"""What a trainer may know of its surroundings: how to find libraries and devices, and nothing of database or broker."""

import os

PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "LAB_REVISION",
    "LAB_FAILPOINT",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
)
KEPT_BACK = ("NVIDIA_TF32_OVERRIDE",)
"""It would make of float32 something else, and no record would say so."""
PASSED_ON_PREFIXES = (
    "CUDA_",
    "NVIDIA_",
    "ROCR_",
    "HIP_",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)


def surroundings(threads: int) -> dict[str, str]:
    """The environment of a trainer that computes on so many threads."""
    passed = {
        key: value
        for key, value in os.environ.items()
        if (key in PASSED_ON or key.startswith(PASSED_ON_PREFIXES)) and key not in KEPT_BACK
    }
    return (
        passed
        | {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as nvidia-smi counts, whose memory is read by the same numbers
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONHASHSEED": "0",
        }
    )
