#!/bin/bash
# verify-sums.sh DIR: the demo and sha256sum agree on every file below DIR, and on which files there are.
set -euo pipefail

directory="$(realpath "$1")"
temporary="$(mktemp -d)"
trap 'rm -rf "$temporary"' EXIT

node ../../scripts/start.mjs apps/demo "$directory" --sums "$temporary/demo" --json | tail -n 1
find -L "$directory" -type f -print0 | xargs -0 sha256sum >"$temporary/sha256sum"

# By path; the order in which clients finish is chance.
export LC_ALL=C
diff <(sort --key=2 "$temporary/sha256sum") <(sort --key=2 "$temporary/demo")
echo "$(wc -l <"$temporary/demo") files, the same SHA-256 sums"
