"""Failure kinds, one row each, and what of the evidence may leave the run folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.failure import BY_NAME, EVIDENCE, KINDS, Proof, diagnose
from jobs.folder import RunFolder

LOGS = {  # one real line for each kind that a log can tell
    "nan_loss": "RuntimeError: the training loss is nan after epoch 3",
    "gpu_lost": "Unable to determine the device handle for GPU0000:65:00.0: GPU is lost.  Reboot the system to recover",
    "driver_mismatch": "Failed to initialize NVML: Driver/library version mismatch",
    "foreign_pressure": "foreign_pressure: mdupont computes on this card",
    "gpu_busy": "RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable",
    "out_of_memory_gpu": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    "out_of_memory": "numpy.core._exceptions._ArrayMemoryError: Unable; MemoryError",
    "disk_full": "OSError: [Errno 28] No space left on device",
    "bad_data": "EOFError: Compressed file ended before the end-of-stream marker was reached",
    "import_error": "ModuleNotFoundError: No module named 'nibabel'",
    "wrong_architecture": "/bin/sh: 1: ./train: Exec format error",
    "not_verified": "orch: not verified: the code 0123456789abcdef is not what its hash says: a.py was changed",
    "cannot_start": "orch: cannot start trian.py: not found in PATH",
    "code_error": "subprocess.CalledProcessError: Command '['x']' returned non-zero exit status 1.",
}


@pytest.fixture
def run(hostile_path: Path) -> RunFolder:
    return RunFolder(str(hostile_path))


def log(run: RunFolder, text: str) -> None:
    Path(run.log).write_text(text, encoding="utf-8")


MORE = [  # texts as drivers, libraries and loaders print them
    ("gpu_lost", "[ 8123.4] NVRM: Xid (PCI:0000:65:00): 79, pid=4242, GPU has fallen off the bus."),
    ("gpu_lost", "RuntimeError: CUDA error: uncorrectable ECC error encountered"),
    ("driver_mismatch", "RuntimeError: The NVIDIA driver on your system is too old (found version 11040)."),
    ("driver_mismatch", "CUDA error: CUDA driver version is insufficient for CUDA runtime version"),
    ("gpu_busy", "CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
    ("wrong_architecture", "RuntimeError: CUDA error: no kernel image is available for execution on the device"),
    ("driver_mismatch", "Error 804: forward compatibility was attempted on non supported HW"),
    ("driver_mismatch", "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory"),
    ("out_of_memory_gpu", "RuntimeError: CUDA error: out of memory"),
    ("out_of_memory_gpu", "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ("out_of_memory", "RuntimeError: [enforce fail at alloc_cpu.cpp:75] . DefaultCPUAllocator: can't allocate memory"),
    ("out_of_memory", "terminate called after throwing an instance of 'std::bad_alloc'"),
    ("disk_full", "OSError: [Errno 122] Disk quota exceeded: '/scratch/runs/last.pt'"),
    ("disk_full", "dd: error writing 'x': No space left on device"),
    ("wrong_architecture", "ImportError: ./_core.so: wrong ELF class: ELFCLASS64"),
    ("wrong_architecture", "bash: ./train: cannot execute binary file: Exec format error"),
    ("wrong_architecture", "python: /lib64/libc.so.6: version `GLIBC_2.34' not found (required by ./x.so)"),
    ("import_error", "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory"),
    ("nan_loss", "the loss is not finite"),
    ("code_error", "IndexError: list index out of range"),
]
SIGNALS = {9: "killed", 15: "killed", 1: "killed", 11: "crashed", 6: "crashed", 7: "crashed", 4: "wrong_architecture"}


def test_every_row_has_its_line() -> None:
    assert {kind.name for kind in KINDS if kind.pattern} == set(LOGS)
    assert all(kind.hint and kind.words for kind in KINDS)


@pytest.mark.parametrize(("name", "line"), MORE)
def test_real_words_are_known(run: RunFolder, name: str, line: str) -> None:
    log(run, f"epoch 1\n{line}\n")
    assert (diagnose(run, 1, None) or {})["kind"] == name


@pytest.mark.parametrize(("number", "name"), SIGNALS.items())
def test_signals_from_outside_are_told_from_crashes(run: RunFolder, number: int, name: str) -> None:
    found = diagnose(run, 128 + number, number)
    assert found is not None
    assert (found["kind"], found["hint"]) == (name, BY_NAME[name].hint)
    assert found["evidence"].startswith("ended by signal SIG")


def test_what_is_proved_comes_before_the_log_and_says_by_what(run: RunFolder) -> None:
    log(run, LOGS["code_error"])
    proof = Proof("timeout", "over its time limit of 60 s, by the watcher's clock")
    for status in (0, 1):
        found = diagnose(run, status, None, proof)
        assert found == {"kind": "timeout", "evidence": proof.evidence, "hint": BY_NAME["timeout"].hint}


@pytest.mark.parametrize("name", LOGS)
def test_one_row_each(run: RunFolder, name: str) -> None:
    log(run, f"epoch 1\n{LOGS[name]}\n\n")
    found = diagnose(run, 1, None)
    assert found is not None
    assert (found["kind"], found["evidence"]) == (name, LOGS[name])
    assert found["hint"]


def test_a_good_end_has_no_failure(run: RunFolder) -> None:
    log(run, LOGS["code_error"])
    assert diagnose(run, 0, None) is None


def test_the_last_line_tells(run: RunFolder) -> None:
    log(run, "ImportError: optional\ngoing on\nTraceback:\nMemoryError\n")
    assert (diagnose(run, 1, None) or {})["kind"] == "out_of_memory"


def test_the_programs_own_word_comes_first(run: RunFolder) -> None:
    log(run, "ValueError: x")
    events = [{"seq": 0, "kind": "note"}, {"seq": 1, "kind": "failure", "failure": "nan_loss", "text": "epoch 7"}]
    Path(run.events).write_text("".join(json.dumps(event) + "\n" for event in events))
    found = diagnose(run, 1, None)
    assert found == {"kind": "nan_loss", "evidence": "nan_loss: epoch 7", "hint": KINDS[0].hint}


def test_a_signal_is_told_apart_from_a_status_of_that_number(run: RunFolder) -> None:
    killed, left = diagnose(run, 137, 9), diagnose(run, 137, None)
    assert killed is not None and left is not None
    assert (killed["kind"], killed["evidence"]) == ("killed", "ended by signal SIGKILL")
    assert (left["kind"], left["evidence"]) == ("unknown", "exit status 137")


def test_earlier_words_do_not_explain_a_kill_from_outside(run: RunFolder) -> None:
    log(run, "ImportError: optional module, going on")
    assert (diagnose(run, 137, 9) or {})["kind"] == "killed"
    assert (diagnose(run, 139, 11) or {})["kind"] == "import_error"


def test_an_unknown_end_shows_its_last_line(run: RunFolder) -> None:
    log(run, "one\nlast words\n \n")
    assert (diagnose(run, 3, None) or {})["evidence"] == "last words"
    assert (diagnose(RunFolder(run.path + "/none"), 3, None) or {})["evidence"] == "exit status 3"


@pytest.mark.parametrize(
    "line",
    [
        "DataError: /data/DUPONT Jean/scan one.nii.gz is truncated",
        "FileNotFoundError: [Errno 2] No such file: '/data/DUPONT Jean/t2.nii'",
        'cannot read "DUPONT Jean.dcm"',
        "BAD_DATA: DUPONT Jean.NII.GZ",
        "BAD_DATA: /a: b/DUPONT.mha and DUPONT.nrrd differ",
        "DUPONT.mgz: header",
        "ValueError: C:\\data\\DUPONT Jean\\a.nii.gz",
    ],
)
def test_names_of_images_stay_in_the_run_folder(run: RunFolder, line: str) -> None:
    log(run, line + "\n")
    evidence = (diagnose(run, 1, None) or {})["evidence"]
    assert "DUPONT" not in evidence
    assert "Jean" not in evidence
    assert "<image>" in evidence


def test_evidence_is_short_and_a_big_log_is_read_from_its_end(run: RunFolder) -> None:
    log(run, "x" * 3_000_000 + "\nValueError: " + "é" * 1000)
    found = diagnose(run, 1, None)
    assert found is not None
    assert found["kind"] == "code_error"
    assert len(found["evidence"]) == EVIDENCE
