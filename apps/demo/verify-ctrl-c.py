"""Presses Ctrl-C in the terminal of `npm run demo`: the program gets SIGINT from the terminal, and again from npm."""

import json
import os
import pty
import re
import sys
import tempfile

FILES = 400
BYTES = 64 * 1024 * 1024  # of each file; they take no room on the disk

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")

with tempfile.TemporaryDirectory() as folder:
    for i in range(FILES):
        with open(os.path.join(folder, f"{i:03}"), "wb") as file:
            file.truncate(BYTES)

    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(root)
        os.execvp("npm", ["npm", "run", "demo", "--", folder, "--json"])

    output = b""
    pressed = False
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # the last process that had the terminal is gone
            break
        if not chunk:
            break
        output += chunk
        if not pressed and re.search(rb"files/s \| [1-9][0-9]* MB/s", output):
            pressed = True
            os.write(terminal, b"\x03")

    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

text = output.decode()
try:
    assert pressed, "expected progress"
    assert status == 0, f"expected exit code 0, got {status}"
    # npm itself writes to the terminal behind that line.
    summary = json.loads(re.search(r"^{.*}$", text.replace("\r", ""), re.MULTILINE)[0])
    assert summary["mismatches"] == 0 and summary["errors"] == 0, summary
    assert 0 < summary["files"] < FILES, summary
    assert summary["bytes"] == summary["files"] * BYTES, summary
    assert f"interrupted: {summary['files']} of {FILES} files" in text
except (AssertionError, ValueError, TypeError) as error:
    print(text)
    sys.exit(f"{error}")
print(f"interrupted after {summary['files']} of {FILES} files, exit code 0")
