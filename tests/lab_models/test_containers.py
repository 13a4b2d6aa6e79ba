"""Data sets as people pass them on: tars, Parquet, tables of pixels, idx files, tables that name images, names that say
a class; and what is none of these, told by what it is.
"""

import csv
import gzip
import io
import json
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab_models.datasets.catalog import Catalog
from lab_models.datasets.decoding import decode
from lab_models.datasets.importing import import_images
from lab_models.datasets.preparation import PreparedDataset, open_imported
from lab_models.datasets.refusals import ImportLimits, ImportRefused
from tests.lab_models.conftest import EXAMPLES, files_below
from tests.lab_models.test_importing import encoded, flowers, pixels, zipped

Files = dict[str, bytes]


def taken(tmp_path: Path, content: bytes | Files, **options: Any) -> PreparedDataset:
    path = tmp_path / "in"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        zipped(path, content)
    info = import_images(path, "own", tmp_path / "imported", **options)
    return open_imported(info, tmp_path / "imported")


def refusal(tmp_path: Path, content: bytes | Files, **options: Any) -> ImportRefused:
    with pytest.raises(ImportRefused) as caught:
        taken(tmp_path, content, **options)
    assert files_below(tmp_path / "imported") == []
    return caught.value


def counts(dataset: PreparedDataset) -> tuple[int, int, int]:
    return dataset.info.num_train, dataset.info.num_val, dataset.info.num_test


# Tars


def tarred(files: Files, mode: str = "w", form: int = tarfile.PAX_FORMAT, **options: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=form, **options) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


LONG = "ü" * 70 + "/" + "long" * 30 + "/"


@pytest.mark.parametrize("prefix", ["", "./", LONG])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_becomes_what_its_zip_becomes(
    mode: str, form: int, prefix: str, tmp_path: Path
) -> None:
    files = {f"{prefix}{name}": content for name, content in flowers().items()}
    files |= {f"{prefix}train/a/._0.png": b"of a Mac", f"{prefix}README.md": b""}
    (tmp_path / "own.tar").write_bytes(tarred(files, mode, form))
    import_images(tmp_path / "own.tar", "tar", tmp_path / "imported")
    import_images(zipped(tmp_path / "own.zip", flowers()), "zip", tmp_path / "imported")
    catalog = Catalog(tmp_path / "imported")
    assert catalog.sha256("tar") == catalog.sha256("zip")


def test_folders_of_a_tar_that_hold_nothing_are_said(tmp_path: Path) -> None:
    out = io.BytesIO(tarred(flowers(), form=tarfile.USTAR_FORMAT))
    with tarfile.open(fileobj=out, mode="a") as archive:
        folder = tarfile.TarInfo("train/empty")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    assert taken(tmp_path, out.getvalue()).info.noticed == (
        "empty holds no image, and is left out",
    )


def link(name: str, kind: bytes, target: str = "/etc/passwd") -> Callable[[Any], None]:
    def change(archive: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        archive.addfile(member)

    return change


def named(name: str, **more: Any) -> Callable[[Any], None]:
    def change(archive: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.size = 1
        for key, value in more.items():
            setattr(member, key, value)
        archive.addfile(member, io.BytesIO(b"x"))

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (link("train/a/x.png", tarfile.SYMTYPE), "is a link or a device"),
        (link("train/a/x.png", tarfile.LNKTYPE, "train/a/0.png"), "is a link or a device"),
        (link("train/a/x.png", tarfile.FIFOTYPE), "is a link or a device"),
        (link("train/a/x.png", tarfile.CHRTYPE), "is a link or a device"),
        (named("/out.png"), "leads out of the archive"),
        (named("../out.png"), "leads out of the archive"),
        (named("train/../../out.png"), "leads out of the archive"),
        (named("train/a/0.png"), "stands twice in the tar"),
        (named("train/./a//0.png"), "stands twice in the tar"),
        (named("train/a/x.png", pax_headers={"path": "../x.png"}), "leads out of the archive"),
        (named("train/a/x.png", pax_headers={"GNU.sparse.major": "1"}), "with holes in it"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_could_hurt_in_a_tar_is_refused_by_its_name(
    packed: bool, change: Callable[[Any], None], why: str, tmp_path: Path
) -> None:
    out = io.BytesIO(tarred(flowers()))
    with tarfile.open(fileobj=out, mode="a", format=tarfile.PAX_FORMAT) as archive:
        change(archive)
    content = gzip.compress(out.getvalue()) if packed else out.getvalue()
    (error,) = refusal(tmp_path, content).errors
    assert why in error.message


def test_a_step_back_that_stays_within_the_archive_is_read(tmp_path: Path) -> None:
    files = {f"x/../{name}": content for name, content in flowers().items()}
    assert counts(taken(tmp_path, tarred(files))) == (8, 0, 4)
    (tmp_path / "zip").mkdir()
    assert counts(taken(tmp_path / "zip", files)) == (8, 0, 4)


def test_a_tar_that_swells_is_refused_while_it_is_unpacked(tmp_path: Path) -> None:
    bomb = tarred({"train/a/0.bmp": bytes(20_000_000)}, "w:gz")
    assert "more than 200 times its size" in str(refusal(tmp_path, bomb))
    said = refusal(tmp_path, tarred(flowers(), "w:gz"), limits=ImportLimits(max_unpacked_bytes=999))
    assert "unpacks to more than 999 bytes" in str(said)
    said = refusal(tmp_path, tarred(flowers()), limits=ImportLimits(max_file_bytes=99))
    assert "more than 99" in said.errors[0].message
    said = refusal(tmp_path, tarred(flowers()), limits=ImportLimits(max_images=5))
    assert "more than 10 files" in str(said)


def header(size: bytes, kind: bytes = b"0", name: bytes = b"train/a/0.png") -> bytes:
    block = bytearray(512)
    block[: len(name)], block[124 : 124 + len(size)], block[156:157] = name, size, kind
    block[148:156] = b" " * 8
    block[148:155] = b"%06o\0" % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (tarred(flowers())[:700], "is cut off within 'train/a/0.png'"),
        (tarred(flowers())[:2048], "its end is missing"),
        (header(b"\x80" + bytes(3) + b"\x7f" * 8), "is cut off within"),
        (header(b"zzz"), "is no number"),
        (header(b"777777777", b"L") + bytes(512), "is cut off"),
        (header(b"00010000000", b"x") + bytes(8**7), "a name or a record of 2,097,152 bytes"),
        (header(b"00000000010", b"x") + b"99 a=b\n".ljust(512, b"\0"), "pax records cannot"),
        (header(b"0") + b"no header".ljust(512, b"."), "no header at byte 512"),
        (gzip.compress(tarred(flowers()))[:-900], "is damaged"),
        (gzip.compress(b"one text", mtime=0), "one file packed by gzip"),
    ],
)
def test_a_damaged_tar_is_said(content: bytes, said: str, tmp_path: Path) -> None:
    assert said in str(refusal(tmp_path, content))


@settings(EXAMPLES, max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(["w", "w:gz"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    st.floats(0.05, 1),
)
def test_no_bytes_make_a_tar_more_than_refused(
    tmp_path_factory: pytest.TempPathFactory,
    mode: str,
    changes: list[tuple[float, int]],
    kept: float,
) -> None:
    content = bytearray(tarred(flowers(train=2, test=1), mode))
    for place, value in changes:
        content[int(place**2 * len(content))] = value
    tmp_path = tmp_path_factory.mktemp("fuzz")
    try:
        taken(tmp_path, bytes(content[: int(kept * len(content)) or 1]))
    except ImportRefused:
        assert files_below(tmp_path / "imported") == []


# Parquet


def shard(
    labels: list[Any],
    names: list[str] | None = None,
    image: str = "image",
    label: str = "label",
    *,
    bare: bool = False,
    seed: int = 0,
    kind: Any = None,
) -> bytes:
    found = [encoded(pixels(8, 8, 3, seed=seed + row)) for row in range(len(labels))]
    metadata = {"info": {"features": {label: {"names": names, "_type": "ClassLabel"}}}}
    rows = found if bare else [{"bytes": one, "path": None} for one in found]
    encoded_as = pa.binary() if bare else pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [(image, encoded_as), ("size", pa.int32())]
    fields.append((label, kind or (pa.string() if isinstance(labels[0], str) else pa.int64())))
    schema = pa.schema(fields, None if names is None else {"huggingface": json.dumps(metadata)})
    table = pa.table([rows, [8] * len(labels), labels], schema=schema)
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "classes"),
    [
        (shard([0, 1] * 5, ["cat", "a/dog"]), ("a-dog", "cat")),
        (shard([3, 11] * 5), ("3", "11")),
        (shard(["x", "y"] * 5, image="img", label="Class Name"), ("x", "y")),
        (shard([0, 1] * 5, bare=True, image="jpeg_bytes", label="target"), ("0", "1")),
    ],
)
def test_a_parquet_file_of_images_is_a_data_set(
    content: bytes, classes: tuple[str, ...], tmp_path: Path
) -> None:
    dataset = taken(tmp_path, content)
    assert (dataset.info.class_names, counts(dataset)) == (classes, (8, 0, 2))
    found = {image.tobytes() for image in (*dataset.train_images, *dataset.test_images)}
    wanted = [encoded(pixels(8, 8, 3, seed=row)) for row in range(10)]
    assert found == {decode(one, channels=3).tobytes() for one in wanted}


@pytest.mark.parametrize("form", [dict, lambda files: tarred(files, "w:gz")])
def test_the_splits_of_several_parquet_files_go_by_their_names(
    form: Callable[[Files], bytes | Files], tmp_path: Path
) -> None:
    """As a data set of the hub lies on the disk."""
    names = ["cat", "dog"]
    files = {
        "flowers/data/train-00000-of-00002.parquet": shard([0, 1] * 2, names),
        "flowers/data/train-00001-of-00002.parquet": shard([0, 1] * 2, names, seed=100),
        "flowers/data/validation-00000-of-00001.parquet": shard([1, 0], names, seed=200),
        "flowers/data/test-00000-of-00001.parquet": shard([1, 0, 1], names, seed=300),
        "flowers/README.md": b"---",
    }
    dataset = taken(tmp_path, form(files))
    assert (dataset.info.class_names, counts(dataset)) == (("cat", "dog"), (10, 2, 3))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (shard([0, -1] * 5), "row 1 of train.parquet has no label: -1"),
        (shard([0, 1.5] * 5, kind=pa.float64()), "row 0 of train.parquet has no label: 0.0"),
        (shard([0, 2] * 5, ["cat", "dog"]), "has the label 2, of 2 names"),
        (shard(["a/b", "a-b"] * 5), "'a/b' and 'a-b' read alike"),
        (shard(["..", "b"] * 5), "'..' is no name for a class"),
        (shard([0, 1] * 5, label="score"), "has no column with a label: image (struct<"),
        (shard([0, 1] * 5)[:900] + b"PAR1", "cannot be read as Parquet"),
    ],
)
def test_parquet_that_cannot_be_taken_is_told_why(
    content: bytes, said: str, tmp_path: Path
) -> None:
    assert said in str(refusal(tmp_path, content))


def test_a_part_of_several_parquet_files_is_not_taken_for_all(tmp_path: Path) -> None:
    files = {
        "train-00000-of-00003.parquet": shard([0, 1] * 2),
        "train-00002-of-00003.parquet": shard([0, 1] * 2, seed=9),
        "test-00000-of-00001.parquet": shard([0, 1]),
    }
    said = str(refusal(tmp_path, files))
    assert "train has 3 parts, and 1 of them are not there, such as 00001-of-00003" in said


def test_parquet_with_paths_alone_has_no_images(tmp_path: Path) -> None:
    out = io.BytesIO()
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = pa.array([{"bytes": None, "path": "a.png"}] * 4, kind)
    pq.write_table(pa.table({"image": rows, "label": [0, 1, 0, 1]}), out)
    assert "has no image in it" in str(refusal(tmp_path, out.getvalue()))


def test_parquet_is_bounded_as_a_zip_is(tmp_path: Path) -> None:
    content = shard([0, 1] * 5)
    for limits, said in (
        (ImportLimits(max_images=9), "more than 9 images"),
        (ImportLimits(max_file_bytes=99), "more than 99"),
        (ImportLimits(max_unpacked_bytes=999), "more than 999 bytes"),
    ):
        assert said in str(refusal(tmp_path, content, limits=limits))


@settings(EXAMPLES, max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_bytes_make_parquet_more_than_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, int]]
) -> None:
    content = bytearray(shard([0, 1] * 3))
    for place, value in changes:
        content[-1 - int(place**2 * (len(content) - 1))] = value  # its metadata stand at the end
    tmp_path = tmp_path_factory.mktemp("fuzz")
    try:
        taken(tmp_path, bytes(content))
    except ImportRefused:
        assert files_below(tmp_path / "imported") == []


# Tables of pixels


def table(
    labels: list[Any], head: bool = True, side: int = 28, place: int = 0, seed: int = 0
) -> tuple[bytes, np.ndarray]:
    images = np.random.RandomState(seed).randint(0, 256, (len(labels), side * side))
    names = [f"pixel{number}" for number in range(side * side)]
    rows = [[*names[:place], "label", *names[place:]]] if head else []
    for label, image in zip(labels, images.tolist(), strict=True):
        rows.append([*image[:place], label, *image[place:]])
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode(), images


@pytest.mark.parametrize(("head", "place"), [(True, 0), (True, 784), (False, 0)])
def test_mnist_as_a_table_is_read_value_for_value(head: bool, place: int, tmp_path: Path) -> None:
    content, images = table([7, 3] * 6, head, place=place)
    dataset = taken(tmp_path, content)
    assert (dataset.info.class_names, dataset.info.shape) == (("3", "7"), (1, 28, 28))
    assert counts(dataset) == (10, 0, 2)
    found = [row.tobytes() for row in (*dataset.train_images, *dataset.test_images)]
    assert sorted(found) == sorted(row.tobytes() for row in images.astype(np.uint8))


def test_tables_in_an_archive_are_splits_by_their_names(tmp_path: Path) -> None:
    files = {
        "mnist_train.csv": table([0, 1] * 3)[0],
        "mnist_test.csv": b"\xef\xbb\xbf" + table([1, 0], seed=1)[0],
    }
    assert counts(taken(tmp_path, files)) == (6, 0, 2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b,c\n1,2,3\n", "has 3 columns, which is no label and the pixels"),
        (table([0, 1])[0].replace(b"label", b"x", 1), "has no column with a label"),
        (table([0, 1])[0] + b"1,2,3\n", "line 4 of train.csv has 2 values beside its label"),
        (table([0, 1])[0] + b"1," + b",".join([b"256"] * 784), "no whole numbers from 0 to 255"),
        (table([0, 1])[0] + b"1," + b",".join([b"x"] * 784), "line 4 of train.csv holds no"),
    ],
)
def test_a_table_that_cannot_be_taken_is_told_why(
    content: bytes, said: str, tmp_path: Path
) -> None:
    assert said in str(refusal(tmp_path, content))


# idx


def idx(array: np.ndarray) -> bytes:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("prefix", ["", "fashion/raw/", "emnist-letters-"])
def test_idx_files_in_an_archive_are_a_data_set(packed: bool, prefix: str, tmp_path: Path) -> None:
    """Fashion-MNIST, KMNIST and EMNIST are passed on so."""
    arrays = {
        "train-images-idx3-ubyte": pixels(12, 8, 8),
        "train-labels-idx1-ubyte": np.arange(12) % 3,
        "t10k-images-idx3-ubyte": pixels(6, 8, 8, seed=1),
        "t10k-labels-idx1-ubyte": np.arange(6) % 3,
    }
    files = {
        f"{prefix}{name}{'.gz' * packed}": gzip.compress(idx(array)) if packed else idx(array)
        for name, array in arrays.items()
    }
    dataset = taken(tmp_path, files)
    assert (dataset.info.class_names, counts(dataset)) == (("0", "1", "2"), (12, 0, 6))
    wanted = arrays["train-images-idx3-ubyte"][np.arange(12) % 3 == 1]
    found = dataset.train_images[dataset.train_labels == 1][:, 0]
    assert sorted(row.tobytes() for row in found) == sorted(row.tobytes() for row in wanted)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"train-images-idx3-ubyte": idx(pixels(3, 4, 4))}, "are not both there"),
        (
            {"train-images-idx3-ubyte": b"x", "train-labels-idx1-ubyte": idx(np.arange(3))},
            "train-images-idx3-ubyte cannot be read as idx",
        ),
        (
            {
                "train-images-idx3-ubyte": idx(pixels(3, 4, 4))[:-1],
                "train-labels-idx1-ubyte": idx(np.arange(3)),
            },
            "says that it holds 48 bytes and has 47",
        ),
        (
            {
                "train-images-idx3-ubyte.gz": gzip.compress(bytes(3_000_000)),
                "train-labels-idx1-ubyte": idx(np.arange(3)),
            },
            "unpacks to more than 200 times its size",
        ),
    ],
)
def test_idx_files_that_cannot_be_taken_are_told_why(
    files: Files, said: str, tmp_path: Path
) -> None:
    assert said in str(refusal(tmp_path, files))


# Tables that name images, and names that say a class


def unsorted(folder: str = "images", suffix: str = ".png", count: int = 10) -> Files:
    return {
        f"{folder}/{number:03}{suffix}": encoded(pixels(8, 8, 3, seed=number))
        for number in range(count)
    }


@pytest.mark.parametrize(
    ("header", "cell", "where"),
    [
        ("filename,label", "{:03}.png", "label"),
        ("id,breed", "{:03}", "breed"),
        ("Image Name,width,Class", "images/{:03}.png,8", "Class"),
        ("image_path,species", "./data/images/{:03}.png", "species"),
    ],
)
def test_a_table_beside_images_says_their_classes(
    header: str, cell: str, where: str, tmp_path: Path
) -> None:
    lines = [f"{cell.format(row)},{'cat' if row % 2 else 'dog'}" for row in range(10)]
    files = {f"pets/{name}": content for name, content in unsorted().items()}
    files["pets/labels.csv"] = "\r\n".join([header, *lines]).encode()
    dataset = taken(tmp_path, files)
    assert (dataset.info.class_names, counts(dataset)) == (("cat", "dog"), (8, 0, 2))
    assert f"the classes are those of pets/labels.csv ({where})" in dataset.info.source
    dogs = {decode(files[f"pets/images/{row:03}.png"], channels=3).tobytes() for row in (0, 2, 4)}
    images, labels = dataset.train_images, dataset.train_labels
    seen = {image.tobytes() for image in images[labels == 1]}
    assert dogs & seen
    assert not dogs & {image.tobytes() for image in images[labels == 0]}


@pytest.mark.parametrize(("codec", "names"), [("latin1", "éè"), ("gbk", "狗狼")])
def test_letters_of_a_table_are_never_guessed(codec: str, names: str, tmp_path: Path) -> None:
    """Replaced, both classes would be one."""
    rows = [f"{row:03}.png,{names[row % 2]}" for row in range(10)]
    table = "\n".join(["file,label", *rows]).encode(codec)
    said = str(refusal(tmp_path, unsorted() | {"labels.csv": table}))
    assert "labels.csv is not UTF-8" in said


def test_the_form_of_an_answer_is_no_truth(tmp_path: Path) -> None:
    """As competitions are downloaded: what stands in it is invented."""
    files = {**unsorted("train"), **{f"test/t{row}.png": b"" for row in range(3)}}
    rows = [f"{row:03},{'cat' if row % 2 else 'dog'}" for row in range(10)]
    files["labels.csv"] = "\n".join(["id,breed", *rows]).encode()
    files["sample_submission.csv"] = b"id,breed\nt0,cat\nt1,dog\nt2,cat\n"
    dataset = taken(tmp_path, files)
    assert counts(dataset) == (8, 0, 2)
    assert "3 images of which it says nothing were left out" in dataset.info.source


def test_tables_of_splits_and_a_column_of_splits_are_read(tmp_path: Path) -> None:
    rows = [f"{row:03}.png,{'ab'[row % 2]}" for row in range(16)]
    files = unsorted(count=16) | {
        f"{split}.csv": "\n".join(["file,class", *part]).encode()
        for split, part in (("train", rows[:8]), ("valid", rows[8:12]), ("test", rows[12:]))
    }
    assert counts(taken(tmp_path, files)) == (12, 4, 4)
    names = ["train"] * 8 + ["val"] * 4 + ["test"] * 4
    whole = "\n".join(f"{row},{split}" for row, split in zip(rows, names, strict=True))
    files = unsorted(count=16) | {"meta.csv": f"file,class,split\n{whole}".encode()}
    (tmp_path / "column").mkdir()
    assert counts(taken(tmp_path / "column", files)) == (12, 4, 4)


def split_table(words: list[str]) -> bytes:
    rows = [f"{row:03}.png,{'ab'[row % 2]},{word}" for row, word in enumerate(words)]
    return "\n".join(["file,class,Usage", *rows]).encode()


def test_a_column_of_splits_is_understood_refused_or_said_to_be_none(tmp_path: Path) -> None:
    images = unsorted(count=16)
    known = ["Training"] * 8 + ["PublicTest"] * 4 + ["PrivateTest"] * 4
    assert counts(taken(tmp_path, images | {"labels.csv": split_table(known)})) == (12, 4, 4)
    mixed = ["train"] * 8 + ["test"] * 4 + ["unlabeled"] * 4
    for name in ("mixed", "folds"):
        (tmp_path / name).mkdir()
    said = str(refusal(tmp_path / "mixed", images | {"labels.csv": split_table(mixed)}))
    assert "names that are none: 'unlabeled'" in said
    folds = [str(row % 5) for row in range(16)]
    dataset = taken(tmp_path / "folds", images | {"labels.csv": split_table(folds)})
    assert "no splits are in the column Usage of labels.csv, which has '0'" in dataset.info.source


def test_images_that_no_table_names_are_counted(tmp_path: Path) -> None:
    """The test images of a competition have no published classes."""
    files = unsorted("train", ".jpg") | {
        f"test/x{row}.jpg": encoded(pixels(8, 8, 3)) for row in range(3)
    }
    files["train.csv"] = b"id,label\n" + b"\n".join(
        b"%03d,%d" % (row, row % 2) for row in range(10)
    )
    dataset = taken(tmp_path, files)
    assert counts(dataset) == (8, 0, 2)
    assert "3 images of which it says nothing were left out" in dataset.info.source


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("labels.csv", "filename,score\n000.png,1", "labels.csv has the columns filename, score"),
        ("labels.csv", "filename,label\n999.png,a", "1 rows of labels.csv name no image"),
        (
            "labels.csv",
            "file,label\n000.png,a\n000.png,b",
            "has two classes in the tables: a and b",
        ),
        ("labels.csv", "file,label\n" + "000.png,a\n" * 1100, "has more than 1,040 rows"),
    ],
)
def test_a_table_that_does_not_fit_its_images_is_told_why(
    name: str, content: str, said: str, tmp_path: Path
) -> None:
    assert said in str(refusal(tmp_path, unsorted() | {name: content.encode()}))


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (
            [f"train/{kind}.{row}.jpg" for kind in ("cat", "dog") for row in range(5)],
            ("cat", "dog"),
        ),
        (
            [f"images/{kind}_{row}.jpg" for kind in ("great_pug", "Bengal") for row in range(5)],
            ("Bengal", "great_pug"),
        ),
        (
            [f"{kind} ({row}).png" for kind in ("daisy", "rose") for row in range(5)],
            ("daisy", "rose"),
        ),
    ],
)
def test_names_that_begin_with_a_class_say_it(
    names: list[str], classes: tuple[str, ...], tmp_path: Path
) -> None:
    files = {name: encoded(pixels(8, 8, 3, seed=row)) for row, name in enumerate(names)}
    dataset = taken(tmp_path, files)
    assert (dataset.info.class_names, counts(dataset)) == (classes, (8, 0, 2))
    assert "the classes are what the files' names begin with" in dataset.info.source


def test_names_that_say_no_class_are_no_classes(tmp_path: Path) -> None:
    cats = {f"train/{kind}.{row}.jpg": b"" for kind in ("cat", "dog") for row in range(5)}
    for test in ("test", "test1"):
        said = refusal(tmp_path, cats | {f"{test}/{row}.jpg": b"" for row in range(3)})
        assert "10 images begin with a class, such as train/cat.0.jpg, and 3 do not" in str(said)
    for names in (["IMG_{:04}", "DSC_{:04}", "PXL_{:04}"], ["image ({})", "photo ({})"]):
        files = {f"{name.format(row)}.png": b"" for name in names for row in range(5)}
        assert "class" in str(refusal(tmp_path, files)), "cameras name no classes"
    for names in (
        ["x/img_{}"],
        ["Images/a_{}", "masks/a_{}"],
        ["x/1_{}", "x/2_{}"],
        ["a/left_{}", "a/right_{}", "b/c/{}"],
    ):
        files = {f"{name.format(row)}.png": b"" for name in names for row in range(5)}
        assert "class" in str(refusal(tmp_path, files))


def test_a_name_of_any_length_is_looked_at_once(tmp_path: Path) -> None:
    """An expression that tries each way to cut it would take hours, and stop the whole process meanwhile."""
    long = "a" * 10_000 + "-" * 10_000
    files = {f"{name}{row}.png": b"" for name in (f"{long}x", long, "b_") for row in range(3)}
    assert "6 images begin with a class" in str(refusal(tmp_path, files))


def test_a_table_names_images_that_are_called_alike_by_their_folders(tmp_path: Path) -> None:
    images = {
        f"{split}/p{row}/scan/image.png": encoded(pixels(8, 8, 3, seed=row))
        for row, split in enumerate(["train"] * 8 + ["test"] * 4)
    }
    rows = [f"data/p{row}/scan/image.png,{'ab'[row % 2]}" for row in range(12)]
    files = images | {"l.csv": "\n".join(["path,label", *rows]).encode()}
    assert "is in a folder within a class folder" in str(refusal(tmp_path, files))
    rows = [row.removeprefix("data/") for row in rows]
    files = images | {"l.csv": "\n".join(["path,label", *rows]).encode()}
    assert counts(taken(tmp_path, files)) == (8, 0, 4)


def test_of_images_called_alike_a_split_chooses(tmp_path: Path) -> None:
    images = {
        f"{split}/{row}.png": encoded(pixels(8, 8, 3, seed=row + 10 * (split == "test")))
        for split in ("train", "test")
        for row in range(8)
    }
    rows = [f"{row},{'ab'[row % 2]}" for row in range(8)]
    table = "\n".join(["id,label", *rows]).encode()
    dataset = taken(tmp_path, images | {"train.csv": table, "test.csv": table})
    assert counts(dataset) == (8, 0, 8)
    assert "is the name of 2 images" in str(
        refusal(tmp_path / "imported", images | {"l.csv": table})
    )


@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_a_table_has_tabs_commas_or_semicolons(separator: str, tmp_path: Path) -> None:
    lines = [
        separator.join((f"{row:03}.png", f'"{"ab"[row % 2]}{separator}"')) for row in range(10)
    ]
    header = separator.join(("file", "label"))
    dataset = taken(tmp_path, unsorted() | {"l.csv": "\n".join([header, *lines]).encode()})
    if separator != "\t":
        assert dataset.info.class_names == (f"a{separator}", f"b{separator}")
    content = table([0, 1] * 5)[0].replace(b",", separator.encode())
    (tmp_path / "pixels").mkdir()
    assert counts(taken(tmp_path / "pixels", content)) == (8, 0, 2)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_table_in_the_encodings_of_windows_is_read(encoding: str, tmp_path: Path) -> None:
    lines = ["file\tlabel", *(f"{row:03}.png\t{('größe', '猫')[row % 2]}" for row in range(10))]
    files = unsorted() | {"l.csv": "\r\n".join(lines).encode(encoding)}
    assert taken(tmp_path, files).info.class_names == ("größe", "猫")
    (tmp_path / "pixels").mkdir()
    content = table([0, 1] * 5)[0].decode().encode(encoding)
    assert counts(taken(tmp_path / "pixels", content)) == (8, 0, 2)


def test_a_row_that_goes_on_and_on_is_refused(tmp_path: Path) -> None:
    """In which every line ends within a cell."""
    endless = b'file,label\n"x' + b'\n","' * 60_000
    assert "a row of l.csv has no end" in str(refusal(tmp_path, unsorted() | {"l.csv": endless}))


def test_order_of_rows_and_files_does_not_matter(tmp_path: Path) -> None:
    lines = [f"{row:03}.png,{'ab'[row % 2]}" for row in range(10)]
    sums = []
    for seed in range(2):
        random.Random(seed).shuffle(lines)
        folder = tmp_path / str(seed)
        folder.mkdir()
        taken(folder, unsorted() | {"l.csv": "\n".join(["file,label", *lines]).encode()})
        sums.append(Catalog(folder / "imported").sha256("own"))
    assert sums[0] == sums[1]


def damaged(files: Files, name: str) -> bytes:
    """A zip in which the content of one file is not what its sum says."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for one, content in files.items():
            archive.writestr(one, content)
        place = archive.getinfo(name).header_offset + 30 + len(name)
    content = bytearray(out.getvalue())
    # of a table the last digit of a number, which stays one
    content[place + (files[name].index(b",", 50) - 1 if b"," in files[name][:8] else 50)] ^= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"train.parquet": shard([0, 1] * 5)}, "train.parquet"),
        ({"train.csv": table([0, 1] * 5, False)[0]}, "train.csv"),
        (
            {
                "train-images-idx3-ubyte": idx(pixels(9, 8, 8)),
                "train-labels-idx1-ubyte": idx(np.arange(9) % 3),
            },
            "train-images-idx3-ubyte",
        ),
        (
            unsorted() | {"l.csv": b"file,label\n" + b"001.png,a,a remark of some length\n" * 2},
            "l.csv",
        ),
    ],
)
def test_a_file_that_is_damaged_in_its_zip_is_named(
    files: Files, name: str, tmp_path: Path
) -> None:
    error = refusal(tmp_path, damaged(files, name))
    assert f"{name} cannot be read" in str(error)
    assert "Bad CRC-32" in str(error)


def test_what_may_be_larger_than_an_image_is_none(tmp_path: Path) -> None:
    """Images are read whole, and an idx file may have any size."""
    image = encoded(pixels(8, 8))
    files = {f"{name}/{row}.png": image for name in "ab" for row in range(3)}
    error = refusal(tmp_path, files | {"a/train-images-idx3-ubyte": image})
    assert [one.pointer for one in error.errors] == ["a/train-images-idx3-ubyte"]


def test_a_damaged_file_without_a_suffix_is_no_image(tmp_path: Path) -> None:
    files = {f"{name}/{row}": encoded(pixels(8, 8, seed=row)) for name in "ab" for row in range(5)}
    content = damaged(files, "a/1")
    assert [one.pointer for one in refusal(tmp_path, content).errors] == ["a/1"]


def test_a_table_beside_class_folders_is_not_asked_and_that_is_said(tmp_path: Path) -> None:
    """As in HAM10000, whose folders are parts."""
    files = {
        f"part_{part}/{row}.jpg": encoded(pixels(8, 8, 3, seed=10 * part + row))
        for part in (1, 2)
        for row in range(5)
    }
    dataset = taken(tmp_path, files | {"meta.csv": b"image_id,dx\n1,nv\n"})
    said = "the classes are the folders', and meta.csv (dx) was not asked"
    assert said in dataset.info.source


def test_a_class_may_be_called_as_a_split_is(tmp_path: Path) -> None:
    lines = [f"{row:03}.png,{'test' if row % 2 else 'control'}" for row in range(10)]
    files = unsorted() | {"l.csv": "\n".join(["file,label", *lines]).encode()}
    assert taken(tmp_path, files).info.class_names == ("control", "test")


# What is none of these


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"7z\xbc\xaf\x27\x1c" + bytes(99), "this is a 7z archive"),
        (b"Rar!\x1a\x07\x00" + bytes(99), "this is a RAR archive"),
        (tarred(flowers(), "w:bz2"), "this is packed by bzip2"),
        (tarred(flowers(), "w:xz"), "this is packed by xz"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "this is an HDF5 file"),
        (b"\x80\x04\x95" + bytes(99), "this is a pickle"),
        (b"\x93NUMPY\x01\x00" + bytes(99), "this is one NumPy array"),
        (encoded(pixels(8, 8)), "this is one image and no data set"),
        (idx(pixels(3, 4, 4)), "this is one idx file"),
        (b"\n<!DOCTYPE html><html>", "this is a web page or XML"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>", "this is a web page or XML"),
        (b"%PDF-1.7\n", "this is a PDF"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git has in the place of a large file"),
        (b"name;score;place\n", "train.csv has 3 columns, which is no label and the pixels"),
        (zlib.compress(b"x" * 99), "this is no zip file that can be read"),
    ],
)
def test_another_format_is_named_with_the_way_to_one_that_is_taken(
    content: bytes, what: str, tmp_path: Path
) -> None:
    error = refusal(tmp_path, content)
    assert what in str(error)
    assert error.hint
