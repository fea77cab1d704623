"""Check that the command's help and `import wsl` cost next to nothing, in seconds of CPU."""

import resource
import subprocess
import sys
from pathlib import Path

LIMIT = 0.5

for command in (["-c", "import wsl"], [str(Path(sys.executable).parent / "wsl"), "--help"]):
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime
    print(f"{command[-1]}: {spent:.2f} s of CPU")
    if spent > LIMIT:
        sys.exit(f"{command[-1]} must take less than {LIMIT} s of CPU, but took {spent:.2f}")
    if command[0] == "-c":
        loaded = subprocess.run(
            [sys.executable, "-c", "import sys, wsl; print('torch' in sys.modules)"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        if loaded != "False":
            sys.exit("import wsl must not import torch")
