"""One door to files on disk, in archives and on remote storage."""

import os

import boto3
import pytest

from fixtures.s3 import BUCKET, s3_server, upload
from fixtures.zips import pack_folder, write_zip
from petmood import places, storage
from petmood.errors import UserError

FILES = {"행복/a 1.jpg": b"one" * 100, "행복/b.jpg": b"two", "top.json": b"{}"}


@pytest.fixture
def folder(tmp_path):
    for name, data in FILES.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "data"


@pytest.fixture(scope="module")
def bucket():
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as address:
        yield address


@pytest.fixture(params=["disk", "zip", "s3", "zip on s3"])
def root(request, folder):
    """The same files on disk, in a zip, on S3 and in a zip there."""
    if request.param == "disk":
        return str(folder)
    if request.param == "s3":
        address = f"{request.getfixturevalue('bucket')}/설정"
        upload(folder, address)
        return address
    path = pack_folder(folder, folder.parent / "out" / "모두.zip")
    if request.param == "zip":
        return f"{path}!"
    address = request.getfixturevalue("bucket")
    upload(path.parent, address)
    return f"{address}/모두.zip!"


# --- one door ---------------------------------------------------------------------------------------------------------


def test_files_are_read_wherever_they_are(root):
    assert {name: places.read(f"{root}/{name}") for name in FILES} == FILES
    assert sorted(places.names(f"{root}/행복")) == ["a 1.jpg", "b.jpg"]
    assert places.exists(f"{root}/top.json")
    assert places.state(f"{root}/행복/b.jpg")[0] == 3


def test_what_is_not_there_is_a_missing_file_wherever_it_is_not(root):
    for name in ("행복/c.jpg", "none/a.jpg"):
        with pytest.raises(FileNotFoundError):
            places.read(f"{root}/{name}")
        with pytest.raises(FileNotFoundError):
            places.state(f"{root}/{name}")
        assert not places.exists(f"{root}/{name}")


def test_more_than_is_asked_for_is_refused_but_on_disk(root):
    if places.split(f"{root}/x") is None and not places.is_remote(root):
        assert places.read(f"{root}/행복/b.jpg", most=2) == b"two"
        return
    with pytest.raises(OSError, match="bytes") as caught:
        places.read(f"{root}/행복/b.jpg", most=2)
    assert "2" in caught.value.strerror


# --- archives ---------------------------------------------------------------------------------------------------------


def test_a_folder_called_like_the_inside_of_an_archive_is_a_folder(tmp_path):
    (tmp_path / "x.zip!").mkdir()
    (tmp_path / "x.zip!" / "a.jpg").write_bytes(b"here")
    assert places.split(f"{tmp_path}/x.zip!/a.jpg") is None
    assert places.read(f"{tmp_path}/x.zip!/a.jpg") == b"here"


def test_a_folder_in_an_archive_may_be_called_like_an_archive(tmp_path):
    path = write_zip(tmp_path / "x.zip", {"y.zip!/a.jpg": b"a"})
    assert places.split(f"{path}!/y.zip!/a.jpg") == (str(path), "y.zip!/a.jpg")
    assert places.read(f"{path}!/y.zip!/a.jpg") == b"a"


def test_an_archive_that_changes_is_read_anew(tmp_path):
    path = write_zip(tmp_path / "x.zip", {"a.jpg": b"old"})
    assert places.read(f"{path}!/a.jpg") == b"old"
    write_zip(path, {"a.jpg": b"newer", "b.jpg": b""})
    assert places.read(f"{path}!/a.jpg") == b"newer"


def test_few_archives_are_kept_open(tmp_path):
    for number in range(40):
        write_zip(tmp_path / f"{number}.zip", {"a.jpg": b"%d" % number})
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(2):
        for number in range(40):
            assert places.read(f"{tmp_path}/{number}.zip!/a.jpg") == b"%d" % number
    if before:
        assert len(os.listdir("/proc/self/fd")) < before + 10


def test_a_place_as_if_it_were_unpacked():
    assert places.unpacked("/d/Training.zip!/CAT.ZIP!/a.jpg") == "/d/Training/CAT/a.jpg"
    assert places.unpacked("/d/cat-arch-000001.zip!") == "/d/cat-arch-000001"
    assert places.unpacked("/d/x.zip.part0!/a.jpg") == "/d/x/a.jpg"
    assert places.unpacked("/d/hello!/a.zip") == "/d/hello!/a.zip"


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["s3://b/x", "gs://b", "memory://x", "abfs+x://b/c"])
def test_addresses_are_told_from_paths(text):
    assert places.is_remote(text)
    assert places.absolute(f"{text}/") == text


@pytest.mark.parametrize("text", ["/a/b", "a", "C://x", "a:b", "s3:/b/x", "x.zip!/s3://b"])
def test_paths_are_no_addresses(text):
    assert not places.is_remote(text)


def test_a_file_address_is_a_path(tmp_path):
    assert places.absolute(f"file://{tmp_path}") == os.path.realpath(tmp_path)


def test_folders_on_storage_list_what_was_put_there_since(bucket, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"a")
    upload(tmp_path, f"{bucket}/later")
    assert places.names(f"{bucket}/later") == ["a.jpg"]
    (tmp_path / "b.jpg").write_bytes(b"b")
    upload(tmp_path, f"{bucket}/later")
    assert sorted(places.names(f"{bucket}/later")) == ["a.jpg", "b.jpg"]
    assert places.is_folder(f"{bucket}/later")
    assert not places.is_folder(f"{bucket}/later/a.jpg")
    assert not places.is_folder(f"{bucket}/never")
    assert places.names(f"{bucket}/never") == []


def test_the_state_of_an_object_changes_with_it(bucket):
    client = boto3.client("s3")
    client.put_object(Bucket=BUCKET, Key="s.jpg", Body=b"one")
    before = places.state(f"{bucket}/s.jpg")
    assert places.state(f"{bucket}/s.jpg") == before
    client.put_object(Bucket=BUCKET, Key="s.jpg", Body=b"two")
    assert places.state(f"{bucket}/s.jpg") != before


def test_members_on_storage_are_fetched_by_ranges_and_onward_reads_ahead(bucket, tmp_path, monkeypatch):
    files = {f"a/{number:03}.json": os.urandom(20_000) for number in range(100)}
    path = write_zip(tmp_path / "ranges.zip", files, packed=False)
    upload(tmp_path, bucket)
    fetched = []
    fetch = storage.RemoteContent._fetch
    monkeypatch.setattr(
        storage.RemoteContent, "_fetch", lambda self, at, length: (fetched.append(length), fetch(self, at, length))
    )
    place = f"{bucket}/ranges.zip!/a"
    assert places.read(f"{place}/050.json") == files["a/050.json"]
    assert len(fetched) <= 3
    assert sum(fetched) < path.stat().st_size / 10
    fetched.clear()
    assert all(places.read(f"{place}/{number:03}.json") == files[f"a/{number:03}.json"] for number in range(100))
    assert len(fetched) < 12
    fetched.clear()
    for number in (90, 10, 70, 30):
        places.read(f"{place}/{number:03}.json")
    assert sum(fetched) < 4 * 21_000


@pytest.mark.parametrize("address", ["s3://no-such-bucket/x.jpg", "s3://pets/no-such-object"])
def test_a_bucket_or_object_that_is_not_there_is_a_missing_file(bucket, address):
    with pytest.raises(FileNotFoundError):
        places.read(address)


def test_storage_that_needs_a_library_names_the_extra(monkeypatch):
    with pytest.raises(UserError, match=r"storage abfs://x/y needs a library") as caught:
        places.read("abfs://x/y")
    assert "petmood[remote]" in caught.value.hint


def test_storage_of_no_known_kind_is_refused():
    with pytest.raises(UserError, match="storage nothing://x is of no known kind"):
        places.read("nothing://x")
