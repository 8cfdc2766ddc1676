"""The data stages from zips and from S3 end like those from folders, with the same crops byte for byte."""

import io
import os
import sys
import zipfile

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fixtures.s3 import forget, s3_server, upload
from fixtures.zips import pack_folder, write_zip
from petmood import cli, places
from petmood.crops import CropStore
from petmood.data.curate import CurateSettings, curate
from petmood.data.index import IndexSettings, index
from petmood.data.pack import pack
from petmood.errors import RunError, UserError
from petmood.report.sheet import write_sheet
from petmood.sources import open_source


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A made-up source with faults, unpacked."""
    path = tmp_path_factory.mktemp("sources") / "clips"
    words = ["--clips", "12", "--frames", "5", "--size", "160x120", "--faults", "0.05", "--shares", "balanced"]
    assert cli.run(["synth", str(path), *words, "--jobs", "1", "-q"]) == 0
    for empty in [inner for inner in path.rglob("*") if inner.is_dir() and not any(inner.iterdir())]:
        empty.rmdir()  # S3 knows no empty folders
    return path


@pytest.fixture(scope="module")
def zips(folder):
    """The same as AI Hub hands it out: a zip of label files and one of pictures for each action, names in cp949."""
    out = folder.parent / "zips"
    tops = {path.parent for path in folder.rglob("*.json")} | {path.parent.parent for path in folder.rglob("*.jpg")}
    for number, top in enumerate(sorted(tops)):
        pack_folder(top, out / f"{top.relative_to(folder)}.zip", packed=number % 2 == 0, coding="cp949")
    return out


@pytest.fixture(scope="module")
def bucket(folder, zips):
    """Both on S3."""
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as address:
        upload(folder, f"{address}/plain")
        upload(zips, f"{address}/zips")
        yield address


def prepared(source, work, jobs=1):
    index(source, work, IndexSettings(pictures="now"), jobs=jobs, quiet=True)
    curate(work, CurateSettings(per_clip=3))
    pack(work, jobs=jobs, quiet=True)
    return work


@pytest.fixture(scope="module")
def expected(folder):
    return prepared(folder, folder.parent / "work")


def crops_of(work):
    store = CropStore(work / "crops")
    return {row["frame_id"]: bytes(store.jpeg(number)) for number, row in enumerate(store.table.iter_rows(named=True))}


def told(work, name, source):
    """A table of a workspace, its paths as if nothing were packed or remote."""
    table = pl.read_parquet(work / name)
    plain = table["path"].map_elements(places.unpacked, return_dtype=pl.String).str.strip_prefix(str(source))
    return table.with_columns(plain).sort("path", "frame_id")


@pytest.mark.parametrize("kind", ["zips", "zips, two processes", "s3", "zips on s3"])
def test_every_table_and_crop_is_that_of_the_folders(request, folder, zips, expected, tmp_path, kind):
    part = "zips" if "zips" in kind else "plain"
    source = f"{request.getfixturevalue('bucket')}/{part}" if "s3" in kind else zips
    work = prepared(source, tmp_path / "work", jobs=2 if "two" in kind else 1)
    for name in ("frames.parquet", "rejects.parquet"):
        assert_frame_equal(told(work, name, source), told(expected, name, folder))
    assert crops_of(work) == crops_of(expected)
    assert len(crops_of(work)) > 20


def test_nothing_is_read_again_while_the_zips_stay_as_they_are(zips, tmp_path):
    work = prepared(zips, tmp_path / "work")
    assert index(zips, work, IndexSettings(pictures="now"), jobs=1, quiet=True).skipped
    again = pack(work, jobs=1, quiet=True, force=False)
    assert again.skipped


def test_crops_are_taken_over_although_their_archive_was_packed_anew(folder, zips, tmp_path):
    source = tmp_path / "zips"
    pack_folder(folder, source / "all.zip")
    work = prepared(source, tmp_path / "work")
    pack_folder(folder, source / "all.zip", packed=False)
    index(source, work, IndexSettings(pictures="now"), jobs=1, quiet=True)
    curate(work, CurateSettings(per_clip=3))
    counts = pack(work, jobs=1, quiet=True).counts
    assert counts["taken_over"] == counts["crops"]


def test_the_contact_sheet_shows_pictures_of_zips(zips, tmp_path):
    work = prepared(zips, tmp_path / "work")
    assert write_sheet(work).pictures > 10


def test_an_archive_that_vanishes_refuses_its_pictures_with_a_reason(folder, tmp_path):
    labels, pictures = tmp_path / "zips" / "labels.zip", tmp_path / "zips" / "[원천]CAT.zip"
    write_zip(labels, {path.name: path.read_bytes() for path in folder.rglob("*.json")})
    files = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in sorted(folder.rglob("*.jpg"))}
    half = len(files) // 2
    write_zip(pictures, dict(list(files.items())[:half]))
    write_zip(tmp_path / "zips" / "[원천]DOG.zip", dict(list(files.items())[half:]))
    work = tmp_path / "work"
    index(tmp_path / "zips", work, jobs=1, quiet=True)
    curate(work, CurateSettings(per_clip=3))
    pictures.unlink()
    counts = pack(work, jobs=1, quiet=True).counts
    assert counts["refused"]["no_image"] > 0
    assert counts["crops"] > 0


def test_damage_is_warned_of_once_on_standard_error(zips, tmp_path, capsys):
    source = tmp_path / "zips"
    source.mkdir()
    for path in zips.rglob("*.zip"):
        target = source / path.relative_to(zips)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (source / "x.zip").write_bytes(b"PK")
    index(source, tmp_path / "work", jobs=1, quiet=True)
    assert capsys.readouterr().err == (
        f"warning: archive {source}/x.zip is damaged: it ends without a directory, as one whose download broke off; "
        "nothing is found without it\n"
    )


# --- S3 that is not as it should be -----------------------------------------------------------------------------------


def test_a_source_that_is_not_in_the_bucket_is_named(bucket):
    with pytest.raises(UserError, match=f"source {bucket}/none does not exist"):
        open_source(f"{bucket}/none")
    with pytest.raises(UserError, match="source s3://no-such-bucket does not exist"):
        open_source("s3://no-such-bucket")


def test_storage_that_cannot_be_reached_is_told_with_where_its_address_comes_from(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    forget()
    with pytest.raises(UserError, match="source s3://unreachable/x cannot be read: .*127.0.0.1:9") as caught:
        open_source("s3://unreachable/x")
    forget()
    assert "AWS_ENDPOINT_URL" in caught.value.hint


def test_without_its_library_storage_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(UserError, match="storage s3://b/x needs a library that is not installed") as caught:
        open_source("s3://b/x")
    assert caught.value.hint == "install it with `pip install 'petmood[remote]'`"


def test_a_table_and_the_pictures_it_names_may_lie_on_storage(bucket, folder, tmp_path):
    picture = next(path for path in sorted(folder.rglob("*.jpg")) if path.stat().st_size > 900)
    place = f"{bucket}/plain/{picture.relative_to(folder)}"
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.jpg", picture.read_bytes())
    (tmp_path / "t.csv").write_text(
        f'image_path,bbox,labels\n{place},"0,0,50,50",happy\nx.zip!/a.jpg,"0,0,50,50",fear\nnone.jpg,"0,0,9,9",calm\n',
        encoding="utf-8",
    )
    (rows,) = (task.read() for task in open_source(tmp_path / "t.csv").tasks)
    assert rows["refused"].to_list() == [None, None, "no_image"]
    assert rows["image_width"].to_list() == [160, 160, None]
    assert io.BytesIO(places.read(rows["path"][1])).read() == picture.read_bytes()
    upload(tmp_path, f"{bucket}/table")
    (rows,) = (task.read() for task in open_source(f"{bucket}/table/t.csv").tasks)
    assert rows["refused"].to_list() == [None, None, "no_image"]


def test_storage_that_fails_on_the_way_ends_the_work_and_loses_nothing(bucket, monkeypatch):
    source = f"{bucket}/plain"
    (task,) = open_source(source).tasks
    whole = task.read()
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    for name, value in (("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_MAX_ATTEMPTS", "1")):
        monkeypatch.setenv(name, value)
    forget()
    with pytest.raises(RunError, match=f"storage {source}.* does not answer as it should: .*127.0.0.1:9"):
        task.read()
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    forget()
    assert_frame_equal(task.read(), whole)


def test_the_command_takes_an_address_and_a_zip(bucket, zips, tmp_path, run):
    code, told, _ = run("index", f"{bucket}/zips", tmp_path / "remote", "--jobs", "1", "-q")
    assert code == 0, told
    archive = next(zips.rglob("*.zip"))
    code, _, err = run("index", archive.with_name("none.zip"), tmp_path / "none", "-q")
    assert (code, "does not exist" in err) == (2, True)
