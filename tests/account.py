"""Programs of another account than the tester's, who may be root, for whom modes of files mean nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from tests.making import REPO


def as_user(user: int) -> list[str]:
    """The words before a program that start it as an account without rights; none if that cannot be."""
    if os.geteuid() or not shutil.which("setpriv"):
        return []
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "env", "HOME=/"]


def python_after(words: Sequence[str]) -> list[str]:
    """These words and a Python of this version that works after them; none if there is no such one.

    The tester's own Python may be in a home folder that other accounts may not enter; then the system's
    is tried, with the libraries of the tests.
    """
    ours = [path for path in sys.path if path and not path.startswith(sys.base_prefix)]
    libraries = f"PYTHONPATH={os.pathsep.join([str(REPO), *ours])}"
    for python in (sys.executable, "/usr/bin/python{}.{}".format(*sys.version_info)):
        start = [*words, "env", libraries, "PYTHONDONTWRITEBYTECODE=1", python]
        proof = [*start, "-c", "import app.start, precompute.cli"]
        if (
            words
            and not subprocess.run(proof, cwd=REPO, capture_output=True, check=False).returncode
        ):
            return start
    return []
