"""Lists of names as people keep them."""

import pytest

from app.errors import InvalidRequest
from app.services.owners.rosters import owner_name, read_roster


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("anna", "anna"),
        ("Anna", "anna"),
        ("anna.mueller@uni.example", "anna.mueller"),
        ("Anna  Müller", "anna.muller"),
        ("Zoë Łukasz", "zoe.lukasz"),
        ("Bjørn Strauß", "bjorn.strauss"),
        ("Renée-Zoë", "renee-zoe"),
        ("Groß", "gross"),
    ],
)
def test_a_written_name_becomes_an_owners(written: str, name: str) -> None:
    assert owner_name(written) == name


@pytest.mark.parametrize(
    ("content", "names", "column"),
    [
        (b"anna\nben\n", ["anna", "ben"], None),
        (b"\xef\xbb\xbfanna\r\n\r\n  # not here\r\nben", ["anna", "ben"], None),
        ("anna\r\nbén\r\n".encode("utf-16"), ["anna", "ben"], None),
        (b"name\nanna\nben\n", ["anna", "ben"], "name"),
        (
            b"Nr;Name;E-Mail\n1;Anna A;anna@a.example\n2;Ben;ben@b.example\n",
            ["anna", "ben"],
            "e-mail",
        ),
        (b'name,group\n"anna",1\n"ben c",2\n,\n', ["anna", "ben.c"], "name"),
        (b"id\tlogin\n1\tanna\n\n# left\t\n2\tben\n", ["anna", "ben"], "login"),
        (b"a@x.example\nb@x.example\n", ["a", "b"], None),
    ],
)
def test_lists_are_read_as_people_save_them(
    content: bytes, names: list[str], column: str | None
) -> None:
    roster = read_roster(content)
    assert [entry.owner for entry in roster.entries] == names
    assert roster.column == column


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the list has no name in it"),
        (b"# nobody\n\n", "the list has no name in it"),
        (b"name\n", "the list has no name in it"),
        (b"anna\nb\xe9n\n", "line 2: this is not UTF-8"),
        (b"anna,1\nben,2\n", "the first line has 2 columns, none of them with a heading"),
        (b"anna\nben,2\n", "line 2: 2 columns where the first line has one"),
        (b"login,nr\nanna,1\n,2\n", "line 3: nothing in the column 'login'"),
        (b"anna\n\nanna\n", "line 3: 'anna' gives the name anna, as line 1 does"),
        (b"a+b@x.example\n", "line 1: 'a+b@x.example' gives no owner's name"),
        ("李明\n".encode(), "line 1: '李明' gives no owner's name"),
        (b"x" * 65, "gives no owner's name: write 1 to 64"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_by_the_number_of_the_line(
    content: bytes, said: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_roster(content)
    assert said in str(refused.value)


def test_every_bad_line_is_named_but_not_a_thousand() -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_roster(b"!\n" * 1000)
    assert len(refused.value.errors) == 1000
    assert str(refused.value).count("\n") == 20
    assert str(refused.value).endswith("and 980 lines more")
