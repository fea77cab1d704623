"""Check what a wheel holds: the package alone, with its data, and no more than it should weigh."""

import sys
import zipfile
from pathlib import Path

LIMIT = 2_000_000
RECIPES = ("default", "demo", "fast", "masks", "plain", "simonyan2013")
NEEDED = [
    "wsl/py.typed",
    "wsl/demo/classifier.safetensors",
    *(f"wsl/recipes/{name}.yaml" for name in RECIPES),
    "wsl/recipes/ilsvrc-val-first-325.txt",
    "wsl/recipes/ilsvrc-val-first-325.pixels",
]

wheel = Path(sys.argv[1])
names = zipfile.ZipFile(wheel).namelist()
tops = {name.split("/")[0] for name in names}
strange = {top for top in tops if top != "wsl" and not top.endswith(".dist-info")}
missing = [name for name in NEEDED if name not in names]
size = wheel.stat().st_size
if strange or missing or size > LIMIT:
    sys.exit(f"{wheel.name}: strange {sorted(strange)}, missing {missing}, {size:,} bytes")
print(f"{wheel.name}: {len(names)} files, {size:,} bytes")
