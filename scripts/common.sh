# What the scripts share. A script sources it after `set -euo pipefail`; it then stands in the clone, where cargo's
# configuration is.
from=$PWD # paths among a caller's arguments are relative to this
script=$(realpath "$0")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# help ARGUMENTS: if they ask for help, prints the comment at the script's head and ends.
help() {
  case " $* " in
  *" --help "* | *" -h "*)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$script"
    exit
    ;;
  esac
}

# make_scratch: sets `scratch` to a folder that goes when the script ends.
make_scratch() {
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
}

# python_with PACKAGES: sets `python` to the one that PYTHON names, which is expected to have them, or to one of a throw-away
# environment in `scratch` into which they go.
python_with() {
  if [[ ${PYTHON-} ]]; then
    python=$(cd "$from" && realpath --no-symlinks "$(command -v "$PYTHON")")
    "$python" - "$@" <<'CHECK'
import importlib.metadata as metadata, os, sys
there = {d.name.lower().replace("_", "-"): d.version.split("+")[0] for d in metadata.distributions()}
asked = [package.split("==") for package in sys.argv[1:]]
lacking = ["==".join([name, *version]) for name, *version in asked if there.get(name.lower()) not in (version or there.values())]
if lacking:
    sys.exit(f"PYTHON, {os.environ['PYTHON']}, lacks {', '.join(lacking)}: install them there, or leave PYTHON out")
CHECK
    return
  fi
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    echo "${script##*/}: Python cannot make environments: install Debian's package python3-venv" >&2
    exit 1
  fi
  python3 -m venv "$scratch/environment"
  python=$scratch/environment/bin/python
  "$python" -m pip install --quiet --disable-pip-version-check "$@"
}

# build ARGUMENTS: sets up, builds with these arguments of cargo's, and sets `built` to the folder of what came out.
build() {
  scripts/setup
  cargo build --release --locked "$@"
  built=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release
}

# find_paragone: sets `paragone` to the program that PARAGONE names, or to a newly built one.
find_paragone() {
  if [[ ${PARAGONE-} ]]; then
    paragone=$(cd "$from" && realpath "$PARAGONE")
  else
    build --bin paragone
    paragone=$built/paragone
  fi
}
