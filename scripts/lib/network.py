"""A network for one process: a namespace of its own, and a veth pair to the namespace in which this runs, where questions are
answered."""

import os
import subprocess
import sys
import time

HOST, GUEST = "192.0.2.1", "192.0.2.2"
ANSWERED_AT = f"{HOST}:7"
VETH = f"victim{os.getpid()}"
MISSING = 3  # The scripts' exit code for it.


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"{' '.join(words)}: {done.stderr.strip()}", file=sys.stderr)
        sys.exit(MISSING)


def namespace_of(process):
    return os.readlink(f"/proc/{process}/ns/net")


class Network:
    """`answers` is the program that can `serve`."""

    def __init__(self, answers):
        self.server = subprocess.Popen([answers, "serve", ANSWERED_AT.replace(HOST, "0.0.0.0")], stdin=subprocess.PIPE)

    @staticmethod
    def around(command):
        """The command, in a namespace of its own; that ends with it."""
        return ["unshare", "--net", "--", *command]

    @staticmethod
    def connect(pid):
        while namespace_of(pid) == namespace_of("self"):
            time.sleep(0.01)
        # As Docker makes it: the host's end has no transmit queue.
        run("ip", "link", "add", VETH, "txqueuelen", "0", "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        for where, name, address in (([], VETH, HOST), (["nsenter", f"--net=/proc/{pid}/ns/net"], "eth0", GUEST)):
            run(*where, "ip", "address", "add", f"{address}/30", "dev", name)
            run(*where, "ip", "link", "set", "dev", name, "up")

    def remove(self):
        # The pair may have ended with its process.
        subprocess.run(["ip", "link", "delete", VETH], capture_output=True)
        self.server.stdin.close()
        self.server.wait()
