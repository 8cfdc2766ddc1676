"""One writer a work folder, whoever and wherever the other is; what the dead held is free again."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from petmood.errors import UserError
from petmood.lock import InUseError, holders, owned
from petmood.lock.owner import new_owner, read_owner, write_count, write_owner
from petmood.workspace import Workspace, owned_run

#: Another process that holds a folder, says so, and ends when its input does.
HOLDER = """
import sys
from pathlib import Path
from petmood.lock import owned
with owned(Path(sys.argv[1]), "petmood " + sys.argv[2], part=sys.argv[3]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def work(tmp_path):
    return Workspace.create(tmp_path / "work").root


@pytest.fixture
def elsewhere():
    """Starts processes that hold a folder; `elsewhere(root, command, part)`."""
    started = []

    def start(root, command="pack", part=""):
        words = [sys.executable, "-c", HOLDER, str(root), command, part]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def end(process):
    process.stdin.close()
    assert process.wait(30) == 0


def names(root):
    return sorted(path.name for path in root.iterdir())


# --- on one machine ---------------------------------------------------------------------------------------------------


def test_a_folder_that_another_process_holds_is_refused_with_its_name_and_number(work, elsewhere):
    process = elsewhere(work)
    with pytest.raises(UserError) as caught, owned(work, "petmood index"):
        pass
    message = caught.value.message
    assert message.startswith(f"work folder {work} is in use by `petmood pack` (process {process.pid} on ")
    assert caught.value.exit_code == 2
    assert "wait until it has ended" in caught.value.hint
    end(process)
    with owned(work, "petmood index"):
        pass


def test_nothing_is_left_behind(work):
    with owned(work, "petmood pack"):
        assert names(work) == [".petmood.lock", ".petmood.owner", "petmood.json"]
    with owned(work, "petmood train", part="runs/a"):
        assert names(work) == [".petmood.parts", "petmood.json"]
    assert names(work) == ["petmood.json"]


@pytest.mark.parametrize("part", ["", "runs/a"])
@pytest.mark.parametrize("wanted", ["", "runs/a"])
def test_a_killed_owner_is_passed_over_in_silence_and_swept_away(work, elsewhere, capfd, part, wanted):
    process = elsewhere(work, part=part)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(names(work)) > 1
    assert holders(work) == ()
    with owned(work, "petmood index", part=wanted):
        assert [owner.pid for owner in holders(work)] == [os.getpid()]
    assert capfd.readouterr().err == ""
    assert names(work) == ["petmood.json"]


def test_runs_are_changed_side_by_side_but_no_run_twice(work, elsewhere):
    elsewhere(work, "train", "runs/a")
    with owned_run(work / "runs" / "b", "petmood evaluate"):
        assert {owner.part for owner in holders(work)} == {"runs/a", "runs/b"}
    with pytest.raises(UserError, match=r"runs/a in work folder .* is in use by `petmood train`"):
        owned_run(work / "runs" / "b" / ".." / "a", "petmood evaluate").__enter__()


def test_data_stay_as_they_are_while_a_run_is_trained_and_runs_wait_for_data(work, elsewhere):
    training = elsewhere(work, "train", "runs/a")
    with pytest.raises(UserError, match=r"runs/a in work folder .* is in use by `petmood train`"):
        owned(work, "petmood pack").__enter__()
    assert names(work) == [".petmood.parts", "petmood.json"]
    end(training)
    elsewhere(work, "pack")
    with pytest.raises(UserError, match=r"work folder .* is in use by `petmood pack`"):
        owned(work, "petmood train", part="runs/b").__enter__()


def test_what_a_process_holds_it_may_ask_for_again(work):
    with owned(work, "petmood screen"), owned(work, "features", part="features"), owned(work / ".", "petmood screen"):
        assert len(holders(work)) == 1
    with owned_run(work / "runs/a", "petmood train"), owned_run(work / "runs/a", "petmood evaluate"):
        assert [owner.command for owner in holders(work)] == ["petmood train"]


def test_of_many_that_start_at_once_one_goes_on_at_a_time(work, monkeypatch):
    inside, together, refused = [], [], []

    def compete(number):
        for _ in range(8):
            try:
                with owned(work, f"petmood {number}", part=("", "runs/a")[number % 2]):
                    inside.append(number)
                    together.append(len(inside))
                    time.sleep(0.002)
                    inside.remove(number)
            except UserError:
                refused.append(number)

    # Threads of one process: each opens the lock anew, so that the system keeps them apart as it does processes.
    monkeypatch.setattr("petmood.lock._is_held", lambda *_: False)
    threads = [threading.Thread(target=compete, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(together) == {1}
    assert len(together) + len(refused) == 32
    assert names(work) == ["petmood.json"]


def test_who_waits_goes_on_when_the_other_has_ended(work, elsewhere, capsys):
    process = elsewhere(work, "train", "features")
    timer = threading.Timer(1.5, process.stdin.close)
    timer.start()
    with owned(work, "petmood train", part="features", wait=True):
        assert process.wait(10) == 0
    timer.join()
    assert capsys.readouterr().err.startswith("waiting: features in work folder ")


# --- on several machines ----------------------------------------------------------------------------------------------


@pytest.fixture
def far_owner(work):
    """The sign of an owner on another machine, whose lock does not reach this one; `beating` lets its counter rise."""
    path = work / ".petmood.owner"
    owner = dataclasses.replace(new_owner("petmood pack", ""), machine="another", host="far", pid=1)
    write_owner(path, owner)
    return path


def test_an_owner_elsewhere_whose_counter_rises_is_left_alone(work, far_owner):
    stop = threading.Event()

    def beat():
        number = 0
        while not stop.wait(0.05):
            number += 1
            write_count(far_owner, number)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(UserError, match=r"is in use by `petmood pack` \(process 1 on far, since "):
            owned(work, "petmood index", watch=2).__enter__()
        with pytest.raises(UserError, match="is in use by `petmood pack`"):
            owned(work, "petmood train", part="runs/a", watch=2).__enter__()
    finally:
        stop.set()
        thread.join()
    assert read_owner(far_owner).host == "far"
    assert names(work) == [".petmood.lock", ".petmood.owner", "petmood.json"]  # as that machine has them


def test_an_owner_elsewhere_whose_counter_stands_still_is_taken_over_and_named(work, far_owner, capsys):
    with owned(work, "petmood index", watch=0.2):
        assert read_owner(far_owner).pid == os.getpid()
    told = capsys.readouterr().err
    assert told.startswith(f"note: work folder {work} was left by `petmood pack` (process 1 on far, since ")
    assert told.endswith("which gave no sign for 0.2 s; it is taken over\n")


def test_clocks_do_not_matter(work, far_owner):
    for when in (0, 2**33):  # the owner file looks very old, then comes from the future
        os.utime(far_owner, (when, when))
        assert [owner.host for owner in holders(work)] == ["far"]
    with owned(work, "petmood index", watch=0.2):
        pass


def test_the_counter_rises_and_can_be_read_at_any_moment(work):
    path = work / ".petmood.owner"
    seen = set()
    with owned(work, "petmood pack", beat=0.01):
        until = time.monotonic() + 10
        while len(seen) < 5 and time.monotonic() < until:
            content = path.read_bytes()
            assert len(content.splitlines()) == 2
            assert read_owner(path) is not None
            seen.add(content.splitlines()[1])
    assert len(seen) >= 5
    assert sorted(seen)[0].isdigit()


def test_who_stood_still_and_was_taken_over_is_stopped(work, capfd):
    with pytest.raises(KeyboardInterrupt), owned(work, "petmood pack", beat=0.02):
        (work / ".petmood.owner").unlink()
        write_owner(work / ".petmood.owner", new_owner("petmood index", ""))
        for _ in range(500):
            time.sleep(0.01)
    assert "was taken over by another machine" in capfd.readouterr().err
    assert read_owner(work / ".petmood.owner").command == "petmood index"  # that one's sign stays


@pytest.mark.parametrize("content", [b"", b"{", b"[]\n", b'{"pid": 1}\n', b"\xff\xfe"])
def test_a_half_written_owner_is_no_owner(work, content):
    (work / ".petmood.owner").write_bytes(content)
    assert holders(work) == ()
    with owned(work, "petmood pack"):
        assert len(holders(work)) == 1


# --- folders that are none, new, read-only or full --------------------------------------------------------------------


def test_a_folder_that_is_no_workspace_is_not_written_into(tmp_path):
    with owned(tmp_path, "petmood pack"), owned(tmp_path / "missing", "petmood pack"):
        assert names(tmp_path) == []
    (tmp_path / "thesis.docx").write_text("precious")
    with owned(tmp_path, "petmood index", new=True):
        assert names(tmp_path) == ["thesis.docx"]


def test_a_new_folder_is_held_from_the_start_and_goes_if_nothing_came_of_it(tmp_path):
    root = tmp_path / "a" / "work"
    with owned(root, "petmood index", new=True), pytest.raises(InUseError):
        raise InUseError("x") if holders(root) else AssertionError
    assert names(tmp_path) == []
    with owned(root, "petmood index", new=True):
        Workspace.create(root)
    assert names(root) == ["petmood.json"]


def test_a_new_folder_of_a_killed_command_is_taken_up(tmp_path, elsewhere):
    process = elsewhere(Workspace.create(tmp_path / "work").root)
    process.kill()
    process.wait()
    (tmp_path / "work" / "petmood.json").unlink()
    with owned(tmp_path / "work", "petmood index", new=True):
        Workspace.create(tmp_path / "work")
        assert len(holders(tmp_path / "work")) == 1


def test_on_a_full_disk_the_lock_alone_does(small_disk, monkeypatch):
    root = Workspace.create(small_disk / "work").root
    ballast = os.open(small_disk / "ballast", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="No space"):
        while True:
            os.write(ballast, bytes(4096))
    os.close(ballast)
    with owned(root, "petmood clean"):
        monkeypatch.setattr("petmood.lock._is_held", lambda *_: False)
        with pytest.raises(UserError, match="is in use by another petmood command"):
            owned(root, "petmood pack").__enter__()
    assert names(root) == ["petmood.json"]
