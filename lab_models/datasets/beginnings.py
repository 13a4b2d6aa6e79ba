"""What a file is by its first bytes, whatever it is called. Nothing here opens one."""

from typing import Final

from lab_models.datasets.refusals import ImportRefused

HEAD_BYTES: Final = 4096
GZIP: Final = b"\x1f\x8b"
ZIP_HINT: Final = "zip the folder with any zip program, without a password, or pack it as .tar.gz"
_NPZ: Final = "save images and labels with np.savez_compressed('own.npz', x_train=…, y_train=…), and import that"
_PAGE: Final = "download the file itself: behind a login or a button a program gets the page"

_ELSEWHERE: Final = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", ZIP_HINT),
    (b"Rar!", "a RAR archive", ZIP_HINT),
    (b"BZh", "packed by bzip2", ZIP_HINT),
    (b"\xfd7zXZ", "packed by xz", ZIP_HINT),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", ZIP_HINT),
    (b"\x89HDF", "an HDF5 file", _NPZ),
    (b"MATLAB 5.0", "a MATLAB file", _NPZ),
    (b"\x93NUMPY", "one NumPy array", _NPZ),
    (b"\x80\x02", "a pickle, which could run anything", _NPZ),
    (b"\x80\x03", "a pickle, which could run anything", _NPZ),
    (b"\x80\x04", "a pickle, which could run anything", _NPZ),
    (b"\x80\x05", "a pickle, which could run anything", _NPZ),
    (b"\0\0\x08", "one idx file", "zip the idx files of images and labels together"),
    (b"ARROW1", "an Arrow file", "write it as Parquet: datasets' `to_parquet`"),
    (b"\xff\xff\xff\xff", "an Arrow stream", "write it as Parquet: datasets' `to_parquet`"),
    (b"SQLite format 3", "an SQLite database", _NPZ),
    (b"%PDF", "a PDF", "zip its pictures as PNG, each in a folder of its class"),
    (b"version https://git-lfs", "what git has in the place of a large file", "`git lfs pull`"),
)

UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
"""How texts begin that programs of Windows call Unicode."""
SEPARATORS: Final = ("\t", ",", ";")
"""Of the cells of a table."""
TIFF: Final = (b"II*\0", b"MM\0*")
_IMAGES: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", *TIFF)
_NETPBM: Final = (b"P2", b"P3", b"P5", b"P6")
_PHONES: Final = {
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"hevc": "HEIC",
    b"mif1": "HEIF",
    b"msf1": "HEIF",
    b"avif": "AVIF",
    b"avis": "AVIF",
}


def refuse_by_beginning(head: bytes) -> None:
    """Raises ImportRefused for what is known and cannot be taken, with the way to what can."""
    if not head:
        raise ImportRefused(
            "this is an empty file", hint="send the archive itself: curl -T FILE URL"
        )
    for beginning, what, how in _ELSEWHERE:
        if head.startswith(beginning):
            raise ImportRefused(f"this is {what}", hint=how)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and b"\0" not in head:
        raise ImportRefused("this is a web page or XML", hint=_PAGE)
    if is_image_beginning(head):
        raise ImportRefused("this is one image and no data set", hint=ZIP_HINT)


def name_of_single(head: bytes) -> str | None:
    """What a file that is a whole data set by itself is called among others: Parquet, or a table; None for other
    files.
    """
    if head.startswith(b"PAR1"):
        return "train.parquet"
    if head.startswith(UTF16):
        head = head[: len(head) // 2 * 2].decode("utf-16", "ignore").encode()
    lines = head.splitlines()
    is_text = lines and not head.lstrip().startswith((b"{", b"[")) and min(head) >= ord("\t")
    is_table = is_text and any(lines[0].count(separator.encode()) >= 2 for separator in SEPARATORS)
    return "train.csv" if is_table else None


def is_image_beginning(head: bytes) -> bool:
    """Whether an image that can be read begins so."""
    return (
        head.startswith(_IMAGES)
        or (head[:2] in _NETPBM and head[2:3].isspace())
        or (head.startswith(b"BM") and head[6:10] == b"\0\0\0\0")
        or (head.startswith(b"RIFF") and head[8:12] == b"WEBP")
    )


def phones_format(head: bytes) -> str | None:
    """HEIC, HEIF or AVIF where a file that begins so is one (ISO/IEC 14496-12, the brand of `ftyp`)."""
    return _PHONES.get(head[8:12]) if head[4:8] == b"ftyp" else None
