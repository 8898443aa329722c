"""How often is the disk asked to sync, and what if each sync took longer?

A few lines of C stand between a server and the C library (LD_PRELOAD): they count every ``fsync`` and ``fdatasync``
and, asked to, wait after each, as a slower disk would. Compiled when needed; without a compiler this is left out.
https://man7.org/linux/man-pages/man8/ld.so.8.html
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_C = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static uint64_t *count;
static long wait_us;

__attribute__((constructor)) static void begin(void) {
    const char *file = getenv("BENCH_SYNCS"), *us = getenv("BENCH_SYNC_WAIT_US");
    if (us) wait_us = atol(us);
    if (!file) return;
    int fd = open(file, O_RDWR);
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) count = page;
    close(fd);
}

static int synced(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result = real(fd);
    if (count) __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
    if (wait_us) {
        struct timespec pause = {wait_us / 1000000, wait_us % 1000000 * 1000};
        nanosleep(&pause, NULL);
    }
    return result;
}

int fsync(int fd) { return synced("fsync", fd); }
int fdatasync(int fd) { return synced("fdatasync", fd); }
"""


@dataclass(frozen=True, slots=True)
class Syncs:
    """The compiled library."""

    library: Path

    @classmethod
    def built(cls, folder: Path) -> Syncs | str:
        """Return the library, or why there is none."""
        if not sys.platform.startswith("linux"):
            return "only Linux loads a library before all others this way"
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            return "no C compiler (cc) here"
        source, library = folder / "syncs.c", folder / "syncs.so"
        source.write_text(_C)
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        return cls(library) if found.returncode == 0 else f"cc failed: {found.stderr.strip()[:200]}"

    def environ(self, counter: Path, wait_ms: float = 0) -> dict[str, str]:
        """Return what makes a new process count into `counter`, and wait so long after each sync."""
        counter.write_bytes(bytes(8))
        return {
            "LD_PRELOAD": str(self.library),
            "BENCH_SYNCS": str(counter),
            "BENCH_SYNC_WAIT_US": str(round(wait_ms * 1000)),
        }


def counted(counter: Path) -> int:
    (found,) = struct.unpack("=Q", counter.read_bytes())
    return int(found)
