"""Takes the libtorch for CPUs out of the wheels that hold it: unpack_cpu.py WHEELS DESTINATION

Of torch's wheel (1.1 GB unpacked, most of it for GPUs) only the C++ headers, libtorch_cpu and what that loads.
"""

import pathlib
import shutil
import sys
import zipfile

LIBRARIES = {
    "torch/lib/libc10.so",
    "torch/lib/libgomp.so.1",
    "torch/lib/libtorch_cpu.so",
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcupti.so.13",
}
HEADERS = "torch/include/"


def target(member):
    """Where a member of a wheel goes, relative to the destination; None if it is not wanted."""
    path = pathlib.PurePosixPath(member)
    if member in LIBRARIES:
        return pathlib.Path("lib", path.name)
    if member.startswith(HEADERS):
        return pathlib.Path("include", member[len(HEADERS) :])
    if path.parts[0].endswith(".dist-info") and "licenses" in path.parts:
        return pathlib.Path("licenses", path.parts[0], path.name)
    return None


def main(wheels, destination):
    found = set()
    for wheel in sorted(pathlib.Path(wheels).glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                relative = target(member.filename)
                if relative is None or member.is_dir():
                    continue
                path = pathlib.Path(destination, relative)
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, open(path, "wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
                found.add(member.filename)
    if missing := LIBRARIES - found:
        sys.exit(f"the wheels lack {', '.join(sorted(missing))}")


main(*sys.argv[1:])
