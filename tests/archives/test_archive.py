"""Reading zips: all that zipfile writes, names in Korean, damage that costs no more than it must, refusals."""

import errno
import os
import struct
import unicodedata
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.zips import Named, cut_off, damage, write_zip
from petmood.archives import Archive

FILES = {"a/1.jpg": b"one" * 500, "a/2.jpg": b"two" * 400, "b/3.json": b'{"x": 3}' * 90, "top.txt": b""}


class Content:
    """Bytes in memory that count how often they are asked for."""

    def __init__(self, data):
        self.data, self.size, self.reads = data, len(data), 0

    def at(self, offset, length):
        self.reads += 1
        return self.data[offset : offset + length]


def opened(path):
    return Archive(Content(path.read_bytes()), name=str(path))


def all_of(archive):
    """Every file and its bytes, or why not."""
    found = {}
    for folder in archive.folders:
        for name in archive.files(folder):
            path = f"{folder}/{name}" if folder else name
            try:
                found[path] = archive.read(path, most=1 << 20)
            except OSError as error:
                found[path] = error.strerror
    return found


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.zip"


# --- what is whole ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_every_file_is_read_back(path, packed, zip64):
    archive = opened(write_zip(path, FILES, packed=packed, zip64=zip64))
    assert all_of(archive) == FILES
    assert archive.folders == ["", "a", "b"]
    assert (archive.damage, archive.misnamed, len(archive)) == ("", [], 4)
    assert archive.state("a/1.jpg") == (1500, zlib.crc32(FILES["a/1.jpg"]))


def test_zip64_in_the_directory_is_understood(path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    write_zip(path, FILES, zip64=True)
    assert b"PK\x06\x06" in path.read_bytes()
    assert all_of(opened(path)) == FILES


def test_a_file_is_one_read_of_the_archive(path):
    content = Content(write_zip(path, FILES).read_bytes())
    archive = Archive(content, name="x")
    before = content.reads
    archive.read("a/1.jpg", most=5000)
    assert content.reads == before + 1


def test_an_archive_behind_a_program_is_read(path):
    write_zip(path, FILES)
    path.write_bytes(b"#!/bin/sh unpacks itself\n" + path.read_bytes())
    assert all_of(opened(path)) == FILES


def test_of_files_of_one_name_the_last_counts(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", b"old")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.txt", b"new")
    assert all_of(opened(path)) == {"a.txt": b"new"}


def test_what_is_not_there_is_told_as_a_missing_file(path):
    archive = opened(write_zip(path, FILES))
    for name in ("a/9.jpg", "c/1.jpg", "a", ""):
        with pytest.raises(FileNotFoundError, match="not in the archive"):
            archive.read(name, most=9)
    assert archive.files("nowhere") == []


@pytest.mark.parametrize("coding", ["utf-8", "cp949", "utf-8 without its flag"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_korean_names_are_found_in_any_coding_and_form(path, coding, form):
    if coding == "cp949" and form == "NFD":
        pytest.skip("cp949 has no parts of syllables")
    name = unicodedata.normalize(form, "원천데이터/고양이 1/행복.jpg")
    stored = name if coding == "utf-8" else name.encode(coding.split()[0])
    archive = opened(write_zip(path, {stored: b"x"}))
    assert archive.folders == ["원천데이터/고양이 1"]
    for asked in ("NFC", "NFD"):
        assert archive.read(unicodedata.normalize(asked, name), most=9) == b"x"


def test_backslashes_divide_folders_as_some_windows_programs_write_them(path):
    stored = {"a\\": b"", "a\\1.jpg": b"1", "top.jpg": b"t", "원천\\b 2\\2.jpg".encode("cp949"): b"2", "a/3.jpg": b"3"}
    archive = opened(write_zip(path, stored))
    assert all_of(archive) == {"top.jpg": b"t", "a/1.jpg": b"1", "a/3.jpg": b"3", "원천/b 2/2.jpg": b"2"}
    assert archive.misnamed == []


def test_stamps_change_with_bytes_and_names_alone(path):
    def stamps():
        archive = opened(path)
        return archive.stamp("a"), archive.stamp("b"), archive.stamp("a/1.jpg"), archive.stamp("a/2.jpg")

    write_zip(path, FILES)
    first = stamps()
    write_zip(path, {"new.txt": b"moves the others", **FILES}, packed=False)
    assert stamps() == first
    write_zip(path, {**FILES, "a/2.jpg": b"owt" * 400})
    assert [now == then for now, then in zip(stamps(), first, strict=True)] == [False, True, True, False]
    write_zip(path, {**FILES, "a/22.jpg": b""})
    assert [now == then for now, then in zip(stamps(), first, strict=True)] == [False, True, True, True]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../../etc/passwd", "its name leads out of the archive"),
        ("a/../../b.jpg", "its name leads out of the archive"),
        ("/etc/passwd", "its name is absolute"),
        ("C:/windows/a.jpg", "its name is absolute"),
        ("C:a.jpg", "its name is absolute"),
        ("a\\..\\b.jpg", "its name leads out of the archive"),
        ("C:\\windows\\a.jpg", "its name is absolute"),
        ("\\\\server\\a.jpg", "its name is absolute"),
        ("a/b\n.jpg", "its name has control characters"),
        ("a//b.jpg", "its name has empty parts"),
        ("./b.jpg", "its name has empty parts"),
        (b"\xff\xff.jpg", "its name is in no known encoding"),
    ],
)
def test_names_that_lead_elsewhere_are_left_out_and_told(path, name, why):
    archive = opened(write_zip(path, {"a/1.jpg": b"good", name: b"bad", "a/2.jpg": b"good"}))
    assert [told for _, told in archive.misnamed] == [why]
    assert all_of(archive) == {"a/1.jpg": b"good", "a/2.jpg": b"good"}


def refusal(path, name, most=1 << 20):
    with pytest.raises(OSError, match="^") as caught:
        opened(path).read(name, most=most)
    assert caught.value.errno == errno.EIO
    assert caught.value.filename == f"{path}!/{name}"
    return caught.value.strerror


def test_a_file_of_more_than_is_asked_for_is_refused(path):
    write_zip(path, FILES)
    assert refusal(path, "a/1.jpg", most=1499) == "it has 1,500 bytes; at most 1,499 are read"


def directory_entry(path, name):
    """Where a member's entry in the directory begins."""
    data = path.read_bytes()
    return data.index(name.encode(), data.index(b"PK\x01\x02")) - 46


def patch(path, at, form, *values):
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, at, *values)
    path.write_bytes(bytes(data))


def test_a_bomb_that_says_less_than_it_holds_is_stopped_where_it_said(path):
    write_zip(path, {"a.jpg": bytes(5 << 20), "b.jpg": b"good"})
    patch(path, directory_entry(path, "a.jpg") + 24, "<L", 1000)
    assert refusal(path, "a.jpg") == "it holds more than the 1,000 bytes that it says"
    assert all_of(opened(path))["b.jpg"] == b"good"


def test_a_member_that_says_more_than_deflate_can_make_is_refused(path):
    write_zip(path, {"a.jpg": b"x" * 100})
    patch(path, directory_entry(path, "a.jpg") + 24, "<L", 900_000)
    assert refusal(path, "a.jpg") == "it says to be larger than its packed bytes can be"


def test_members_that_share_bytes_are_refused(path):
    write_zip(path, {"a.jpg": b"x" * 100, "b.jpg": b"y" * 100, "c.jpg": b"z" * 100}, packed=False)
    patch(path, directory_entry(path, "b.jpg") + 42, "<L", 0)  # where a.jpg begins
    assert refusal(path, "a.jpg") == "it overlaps another member"
    assert refusal(path, "b.jpg") == "it overlaps another member"
    assert opened(path).read("c.jpg", most=100) == b"z" * 100


def test_an_encrypted_member_is_refused(path):
    write_zip(path, FILES)
    patch(path, directory_entry(path, "a/1.jpg") + 8, "<H", 1)
    assert refusal(path, "a/1.jpg") == "it is encrypted"


@pytest.mark.parametrize(("method", "number"), [(zipfile.ZIP_BZIP2, 12), (zipfile.ZIP_LZMA, 14)])
def test_unknown_compression_is_refused_by_its_number(path, method, number):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.jpg", b"x" * 1000)
    assert refusal(path, "a.jpg") == f"it is compressed by method {number}; only deflate is known"


def test_a_link_is_refused(path):
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("a.jpg")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert refusal(path, "a.jpg") == "it is a link"


def test_a_header_that_names_another_file_is_refused(path):
    write_zip(path, {"a.jpg": b"x", "b.jpg": b"y"})
    damage(path, b"a.jpg")
    assert refusal(path, "a.jpg") == "its place in the archive holds something else"


# --- what is damaged --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_damaged_bytes_cost_their_member_alone(path, packed):
    write_zip(path, FILES, packed=packed)
    damage(path, b"a/1.jpg", by=9)
    found = all_of(opened(path))
    assert found.pop("a/1.jpg").startswith("its bytes in the archive are damaged")
    assert found == {name: data for name, data in FILES.items() if name != "a/1.jpg"}


def with_sizes_behind(path, files, *, packed):
    """As programs write that cannot go back: sizes stand behind each member and not in its header."""

    class Forward:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            return self.file.write(data)

        def flush(self):
            self.file.flush()

    with path.open("wb") as file, zipfile.ZipFile(Forward(file), "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)
    return path


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("behind", [False, True])
def test_without_its_directory_an_archive_is_read_by_its_local_headers(path, packed, behind, zip64):
    if behind:
        with_sizes_behind(path, FILES, packed=packed)
    else:
        write_zip(path, FILES, packed=packed, zip64=zip64)
    os.truncate(path, path.read_bytes().index(b"PK\x01\x02"))
    archive = opened(path)
    assert archive.damage == "it ends without a directory, as one whose download broke off"
    assert all_of(archive) == FILES


def test_a_cut_off_archive_gives_what_is_whole_in_it(path):
    files = {f"a/{number}.jpg": os.urandom(1000) for number in range(10)}
    write_zip(path, files)
    cut_off(path, 0.52)
    found = all_of(opened(path))
    whole = {name: data for name, data in found.items() if isinstance(data, bytes)}
    assert whole == {name: files[name] for name in list(files)[:5]}
    assert set(found) - set(whole) <= {"a/5.jpg"}


def test_a_damaged_directory_is_told_and_gone_round(path):
    write_zip(path, FILES)
    damage(path, b"PK\x01\x02")
    archive = opened(path)
    assert archive.damage == "its directory is damaged after 0 of 4 members"
    assert all_of(archive) == FILES


def test_a_damaged_local_header_costs_its_member_alone_when_there_is_no_directory(path):
    write_zip(path, FILES, packed=False)
    os.truncate(path, path.read_bytes().index(b"PK\x01\x02"))
    data = path.read_bytes()
    second = data.index(b"PK\x03\x04", 4)
    path.write_bytes(data[:second] + b"??" + data[second + 2 :])
    assert all_of(opened(path)) == {name: data for name, data in FILES.items() if name != "a/2.jpg"}


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip at all" * 50, b"PK\x05\x06", b"PK\x03\x04" * 40])
def test_a_file_that_is_no_archive_holds_nothing(data):
    archive = Archive(Content(data), name="x")
    assert (len(archive), archive.folders) == (0, [])
    assert archive.damage


def test_a_part_of_several_is_told(path):
    write_zip(path, FILES)
    patch(path, path.stat().st_size - 18, "<2H", 1, 1)
    assert opened(path).damage == "it is the last part of several"


# --- anything ---------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.binary(min_size=1, max_size=12) | st.text(min_size=1, max_size=8), st.binary(max_size=40)))
def test_any_name_is_read_back_or_told_and_never_leads_outside(tmp_path_factory, members):
    path = tmp_path_factory.mktemp("any") / "x.zip"
    safe = {name: data for name, data in members.items() if not isinstance(name, str) or name.isprintable()}
    archive = opened(write_zip(path, safe))
    found = all_of(archive)
    assert all(isinstance(data, bytes) for data in found.values())
    for name in found:
        parts = name.split("/")
        assert not {"", ".", ".."} & set(parts)
        assert "\\" not in name
    folders = sum((name if isinstance(name, bytes) else name.encode()).endswith((b"/", b"\\")) for name in safe)
    assert len(archive) + len(archive.misnamed) + folders == len(safe)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_ends_in_anything_but_a_reason(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "x.zip"
    whole = bytearray(write_zip(path, FILES, packed=data.draw(st.booleans())).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    for name, found in all_of(opened(path)).items():
        assert isinstance(found, str) or FILES.get(name, found) == found


def test_the_helper_stores_the_name_that_it_is_told(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(Named("가".encode("cp949")), b"")
    assert "가".encode("cp949") in path.read_bytes()
