"""A bare Debian in a folder: no compiler, no development files, nothing of this project. For tests of packages."""
import os
import pathlib
import shutil
import subprocess
import tempfile

# What a package's installation may leave although it is gone: the records of dpkg, ldconfig and man-db themselves.
RECORDS = ("var/lib/dpkg/", "var/log/", "var/cache/man", "var/cache/ldconfig", "etc/ld.so.cache")

# Arguments of the shell: the root, the folder of the server's socket, then the command. The mounts are gone with it.
ENTER = """
set -eu
root=$1 socket=$2
shift 2
mount --bind "$root" "$root"
mount --bind "$socket" "$root$socket"
mount -o remount,ro,bind "$root"
mount -t proc proc "$root/proc"
exec chroot --userspec=10001:10001 "$root" "$@"
"""


def why_not():
    """Why there can be none here, or None."""
    if os.getuid() != 0:
        return "only root can make a file system root"
    if shutil.which("mmdebstrap") is None:
        return "mmdebstrap is not installed (scripts/install-deps installs it)"
    release = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
    if release.get("VERSION_CODENAME") != "bookworm":
        return "this machine's apt does not know bookworm"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        return "this machine lets nobody mount"
    return None


class BareRoot:
    """Debian 12, minimal, with these packages, from where this machine's apt takes its own."""

    def __init__(self, packages):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="reembed-root."))
        self.directory.chmod(0o755)
        self.path = self.directory / "root"
        sources = [path for path in (pathlib.Path("/etc/apt/sources.list"),
                                     *sorted(pathlib.Path("/etc/apt/sources.list.d").glob("*.sources")),
                                     *sorted(pathlib.Path("/etc/apt/sources.list.d").glob("*.list")))
                   if path.is_file() and "bookworm" in path.read_text()]
        done = subprocess.run(["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase",
                               "--include=" + ",".join(sorted(packages)), "bookworm", self.path, *sources],
                              capture_output=True, text=True)
        if done.returncode:
            self.close()
            raise AssertionError(f"mmdebstrap could not make a root:\n{done.stdout}{done.stderr}")

    def close(self):
        shutil.rmtree(self.directory)

    def call(self, *words, code=0):
        """As root, in it. The text that it printed."""
        done = subprocess.run(["chroot", self.path, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"})
        assert done.returncode == code, f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def confined(self, socket, *words, code=0, **environment):
        """As user 10001, with everything read-only, without any privilege; `socket` is the folder of Postgres."""
        (self.path / str(socket).lstrip("/")).mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["unshare", "--mount", "sh", "-c", ENTER, "enter", self.path, socket, *map(str, words)],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent", **environment})
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def files(self):
        """{path: kind, size, target of a link} of everything but the records."""
        found = {}
        for folder, folders, files in os.walk(self.path):
            for name in folders + files:
                path = pathlib.Path(folder) / name
                inside = str(path.relative_to(self.path))
                if not inside.startswith(RECORDS):
                    status = path.lstat()
                    found[inside] = (status.st_mode, 0 if path.is_dir() and not path.is_symlink() else status.st_size,
                                     os.readlink(path) if path.is_symlink() else None)
        return found
