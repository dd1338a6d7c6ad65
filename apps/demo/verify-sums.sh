#!/bin/bash
# verify-sums.sh DIR: the demo finds the same SHA-256 as sha256sum for every file below DIR, and misses none.
set -euo pipefail
export LC_ALL=C

directory="$(realpath "$1")"
temporary="$(mktemp -d)"
trap 'rm -rf "$temporary"' EXIT

sums() { find -L "$directory" -type f -print0 | xargs -0 sha256sum | sort; }

sums >"$temporary/before"
node ../../scripts/start.mjs apps/demo "$directory" --sums "$temporary/demo" --json | tail -n 1
sums >"$temporary/after"

# What somebody edits meanwhile has no sum to agree on.
comm -12 "$temporary/before" "$temporary/after" >"$temporary/expected"
sort "$temporary/demo" | comm -23 "$temporary/expected" - >"$temporary/wrong"
if [ -s "$temporary/wrong" ]; then
  echo 'sha256sum says otherwise of:'
  cat "$temporary/wrong"
  exit 1
fi
echo "$(wc -l <"$temporary/expected") files, the same SHA-256 sums"
