"""What is nearest in kind to a well-known network that is not here. Nearest by its letters would be misleading: `lenet`
is no slip in `henet`.
"""

import re
from typing import Final

IMAGENET_DEPTHS: Final = (26, 34, 50, 101, 152, 200)
"""Layers of the residual networks for ImageNet, beside the 18 that are here (He et al. 2015, table 1, and timm's)."""
_VGG: Final = '{"arch": "vgg", "widths": [64, 128, 256, 512], "convs_per_stage": 2}'
_LISTED: Final = "stands in docs/layers.md, a list of layers to be copied"
_LENET: Final = (
    '{"layers": [{"conv": 6, "kernel": 5}, "tanh", "average_pool", {"conv": 16, "kernel": 5, "padding": 0}, "tanh",'
    ' "average_pool", "flatten", {"linear": 120}, "tanh", {"linear": 84}, "tanh"]}'
)
_KINDS: Final = (
    (
        r"wide.*res|wrn|resnext|seresnet|preact.*|res2net",
        "is a residual network with wider or other blocks, which none here has but a list of layers may have"
        " (docs/layers.md); nearest in kind are 'resnet18', whose"
        ' stages are 64 to 512 wide, and \'cnn\' with "residual": true and a "width"',
    ),
    (
        r"vgg",
        f"has no name of its own here; nearest is 'vgg' with as many convs in each stage: {_VGG}; layer by layer VGG-16"
        f" {_LISTED}",
    ),
    (
        r"alexnet|zfnet|overfeat",
        f"is of convs with pools and then fully connected layers; nearest in kind is 'vgg': {_VGG}",
    ),
    (
        r"lenet",
        f"has no name of its own here; as a list of layers it is {_LENET}",
    ),
    (
        r"efficientnet|mobilenet|shufflenet|squeezenet|mnasnet|ghostnet|mobileone",
        'is a network of few parameters by convs of other kinds, such as one with "groups" in a list of layers'
        " (docs/layers.md); few parameters have 'resnet20' (0.27 M) and 'student'",
    ),
    (
        r"densenet|inception|googlenet|xception|regnet|convnext|nfnet|nasnet|networkinnetwork|nin$",
        "is a conv network of blocks that none here has; nearest in kind are 'resnet18', and 'cnn' with"
        ' "residual": true',
    ),
    (
        r"vit|deit|swin|beit|mixer|transformer|maxvit|cait|coatnet|dinov?",
        "is of attention or mixing over patches, which no network here has; nearest in use is 'resnet18', which such"
        " networks are compared with",
    ),
    (
        r"convnet|convolutional|simplecnn|smallcnn|basiccnn|conv$",
        "is said in many ways; 'cnn' has stages of convs, 'vgg' convs with pools and fully connected layers",
    ),
    (
        r"(fc|fcn|fcnn|dense|ann|dnn|ffn|ffnn|perceptron|multilayerperceptron)(net)?$",
        "is said in many ways; 'mlp' is of fully connected layers",
    ),
    (
        r"logisticregression|logreg|softmaxregression|linear|lda$|svm$",
        'is a network with nothing before its head: {"layers": ["flatten"]}',
    ),
)


def nearest_network(name: str) -> str | None:
    """What to take in place of a network that is known elsewhere by this name, in any case and with or without a
    version, and why; None for a name that is none of these.
    """
    plain = re.sub("[^a-z0-9]", "", name.lower().rpartition("/")[2])
    residual = re.fullmatch(r"resnet([0-9]{1,4})?[a-d]?(v[0-9])?", plain)
    if residual is not None:
        return _nearest_residual(name, residual[1])
    return next((f"{name[:40]!r} {said}" for kind, said in _KINDS if re.match(kind, plain)), None)


def _as_list(depth: int) -> str:
    return f"layer by layer it {_LISTED}; " if depth in (34, 50) else ""


def _nearest_residual(name: str, layers: str | None) -> str | None:
    if layers is None:
        return (
            "there are 'resnet18', torchvision's for ImageNet, and He et al.'s for CIFAR-10: 'resnet20', 'resnet32',"
            " 'resnet44', 'resnet56' and 'resnet110'"
        )
    depth = int(layers)
    if depth in IMAGENET_DEPTHS:
        deep = "resnet110" if depth > 80 else "resnet56" if depth > 40 else "resnet32"
        return (
            f"{name[:40]!r} is for ImageNet's large images and has no name here; {_as_list(depth)}nearest are"
            " 'resnet18', the smallest of its"
            f" family, and by depth '{deep}', He et al.'s for images of 32x32"
        )
    if depth % 6 == 2 and 8 <= depth <= 1202:
        return f'write {{"arch": "henet", "depth": {depth}}}, which is He et al.\'s network of so many layers'
    return None
